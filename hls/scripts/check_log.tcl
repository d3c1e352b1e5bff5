# What in an HLS tool's log means that the engine is not what its source says, though the tool went on.
#
#   tclsh check_log.tcl LOG [accept=200-1449,...]      alone; vitis.tcl calls it after the synthesis
#
# Exit code 1, and the lines, where there are any. `accept` names messages that are known and harmless.

# message -> what it says
set log_faults {
    200-880  "an initiation interval was missed: a dependence carried from one iteration to another"
    200-885  "an initiation interval was missed: too few ports of a memory"
    200-871  "the estimated clock period is above the target"
    200-976  "a variable is not used as a dataflow region allows"
    200-994  "a variable is read and written by more processes than a dataflow region allows"
    214-169  "the dataflow region is not in canonical form"
    214-114  "the dataflow region contains something other than variables and calls"
    214-475  "processes were merged because of a feedback"
    200-1449 "a process waits for a value from outside the region as if it were the first"
    200-1450 "a process waits with a value for outside the region as if it were the last"
    204-65   "a pipelined loop could not be pipelined"
}

# Lines of `text` with a message of `log_faults`, an interval above the one asked for, or a pragma that was not taken.
proc log_findings {text accepted} {
    global log_faults
    array set meaning $log_faults
    set found {}
    foreach line [split $text \n] {
        set number ""
        regexp {\[(?:HLS|SCHED|XFORM) (\d+-\d+)\]} $line -> number
        if {$number ne "" && [lsearch -exact $accepted $number] >= 0} { continue }
        if {$number ne "" && [info exists meaning($number)]} {
            lappend found "$meaning($number): [string trim $line]"
        } elseif {[regexp {Target II = (\d+), Final II = (\d+)} $line -> wanted got] && $got > $wanted} {
            lappend found "an initiation interval was missed: [string trim $line]"
        } elseif {[regexp {II Violation} $line]} {
            lappend found "an initiation interval was missed: [string trim $line]"
        } elseif {[regexp -nocase {^WARNING.*pragma} $line]
                  && [regexp -nocase {ignor|unexpected|unsupported|not supported|invalid} $line]} {
            lappend found "a pragma was not taken: [string trim $line]"
        } elseif {[regexp {^ERROR:} $line]} {
            lappend found [string trim $line]
        }
    }
    return $found
}

# Reads a log, prints what it finds, and returns how many lines that is.
proc check_log {path accepted} {
    set file [open $path r]
    set found [log_findings [read $file] $accepted]
    close $file
    foreach line $found { puts "not as the source says: $line" }
    return [llength $found]
}

if {[info exists ::argv0] && [file normalize $::argv0] eq [file normalize [info script]]} {
    set accepted {}
    foreach word [lrange $::argv 1 end] {
        if {![regexp {^accept=(.*)$} $word -> list]} { error "cannot read '$word'; the one option is accept=" }
        set accepted [split $list ,]
    }
    exit [expr {[check_log [lindex $::argv 0] $accepted] > 0}]
}
