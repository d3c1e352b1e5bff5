# Vitis HLS: simulates, synthesises, co-simulates and packages the engine for one array.
#
#   vitis_hls -f vitis.tcl array=z7020_256 part=xc7z020clg400-1 clock_mhz=100 [steps=csim,csynth,cosim,export] [case=/path/to/case]
#
# Run from an empty folder: the project is made there. Options are name=value words, in any order; older releases pass
# them with -tclargs, which works too. The exported IP lies in engine_<array>/solution/impl/ip.
#
# cosim copies the memory behind each AXI port once, before it starts: what the engine writes does not reach its read
# ports. A case for cosim therefore has one layer; csim takes any number.

set option(array) z7020_256
set option(part) xc7z020clg400-1
set option(clock_mhz) 100
set option(steps) csim,csynth,export
set option(case) ""
foreach argument $::argv {
    if {[regexp {^(\w+)=(.*)$} $argument -> name value]} {
        if {![info exists option($name)]} {
            error "unknown option '$name'; known are [join [lsort [array names option]] {, }]"
        }
        set option($name) $value
    }
}

set hls [file normalize [file join [file dirname [info script]] ..]]
set defines "-DPROPRUNE_ARRAY_$option(array)"
set flags "-std=c++17 $defines -I$hls/src -I$hls/generated"
if {![file exists $hls/generated/array_$option(array).hpp]} {
    error "no array is called '$option(array)': $hls/generated/array_$option(array).hpp does not exist"
}

open_project -reset engine_$option(array)
set_top engine
add_files $hls/src/engine.cpp -cflags $flags
foreach source {tb_main.cpp tb_dot.cpp tb_order.cpp tb_output.cpp tb_program.cpp tb_replay.cpp} {
    add_files -tb $hls/tb/$source -cflags "$flags -I$hls/tb -I$hls/host -Wno-unused-label"
}

open_solution -reset solution -flow_target vivado
set_part $option(part)
create_clock -period [expr {1000.0 / $option(clock_mhz)}] -name default
# The register offsets of the contract are those of 64-bit pointers.
config_interface -m_axi_addr64=true
# What the static sums held at power-up is never read: a layer's first block starts from its biases.
config_rtl -reset control

proc wanted {step} {
    global option
    return [expr {[lsearch -exact [split $option(steps) ,] $step] >= 0}]
}
set arguments [expr {$option(case) eq "" ? "" : [file normalize $option(case)]}]

if {[wanted csim]} { csim_design -argv $arguments }
if {[wanted csynth]} { csynth_design }
if {[wanted cosim]} { cosim_design -argv $arguments }
if {[wanted export]} {
    export_design -format ip_catalog -vendor proprune -library hls -ipname engine -version 1.0 \
        -description "proprune engine, array $option(array)" -display_name "proprune engine"
}
close_solution
close_project
exit
