# Vitis HLS: simulates, synthesises, co-simulates and packages the engine for one array.
#
#   vitis_hls -f vitis.tcl array=z7020_256 part=xc7z020clg400-1 clock_mhz=100 \
#       [steps=csim,csynth,cosim,export] [case=/path/to/case] [accept=200-1449,...]
#   HLS_ARRAY=z7020_256 HLS_PART=xc7z020clg400-1 HLS_CLOCK_MHZ=100 vitis-run --mode hls --tcl vitis.tcl
#
# The second form is for releases without vitis_hls. Each option may be a name=value word, in any order (older releases
# pass them with -tclargs, which works too), or a variable HLS_<NAME> of the environment; words count for more.
# Run from an empty folder: the project is made there. The exported IP lies in engine_<array>/solution/impl/ip.
#
# After the synthesis the log is read (check_log.tcl): where the tool went on but made something else than the source
# says, the script ends with exit code 1 and nothing is exported. `accept` names messages that are known and harmless.
#
# cosim copies the memory behind each AXI port once, before it starts: what the engine writes does not reach its read
# ports. A case for cosim therefore has one layer; csim takes any number.

set option(array) z7020_256
set option(part) xc7z020clg400-1
set option(clock_mhz) 100
set option(steps) csim,csynth,export
set option(case) ""
set option(accept) ""
foreach name [array names option] {
    set variable HLS_[string toupper $name]
    if {[info exists ::env($variable)]} { set option($name) $::env($variable) }
}
foreach argument $::argv {
    if {[regexp {^(\w+)=(.*)$} $argument -> name value]} {
        if {![info exists option($name)]} {
            puts "unknown option '$name'; known are [join [lsort [array names option]] {, }]"
            exit 1
        }
        set option($name) $value
    }
}

set hls [file normalize [file join [file dirname [info script]] ..]]
source [file join $hls scripts check_log.tcl]
set project engine_$option(array)
# C++14 is what all releases take. The host's folder is for simulation; nothing of it is synthesised.
set flags "-std=c++14 -DPROPRUNE_ARRAY_$option(array) -I$hls/src -I$hls/generated -I$hls/host"
if {![file exists $hls/generated/array_$option(array).hpp]} {
    puts "no array is called '$option(array)': $hls/generated/array_$option(array).hpp does not exist"
    exit 1
}

proc wanted {step} {
    global option
    return [expr {[lsearch -exact [split $option(steps) ,] $step] >= 0}]
}

proc build {} {
    global option hls flags project
    open_project -reset $project
    set_top engine
    add_files $hls/src/engine.cpp -cflags $flags
    foreach source [lsort [glob $hls/tb/tb_*.cpp]] {
        add_files -tb $source -cflags "$flags -I$hls/tb -Wno-unused-label"
    }
    open_solution -reset solution -flow_target vivado
    set_part $option(part)
    create_clock -period [expr {1000.0 / $option(clock_mhz)}] -name default
    # The register offsets of the contract are those of 64-bit pointers.
    config_interface -m_axi_addr64=true
    # What memories held at power-up is never read: a layer's first block starts from its biases.
    config_rtl -reset control

    set arguments [expr {$option(case) eq "" ? "" : [file normalize $option(case)]}]
    if {[wanted csim]} { csim_design -argv $arguments }
    if {[wanted csynth]} {
        csynth_design
        # Where there is no log there is nothing to go by, and the result is not to be trusted.
        if {[check_log [file join $project solution solution.log] [split $option(accept) ,]] > 0} {
            error "the synthesis is not what the source says; see the lines above"
        }
    }
    if {[wanted cosim]} { cosim_design -argv $arguments }
    if {[wanted export]} {
        export_design -format ip_catalog -vendor proprune -library hls -ipname engine -version 1.0 \
            -description "proprune engine, array $option(array)" -display_name "proprune engine"
    }
    close_solution
    close_project
}

# An error in a script does not end every release with a code of its own.
if {[catch build message]} {
    puts "vitis.tcl: $message"
    exit 1
}
exit 0
