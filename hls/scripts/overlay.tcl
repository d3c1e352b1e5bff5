# Vivado: builds the bitstream and hardware hand-off of one board around the packaged engine.
#
#   vivado -mode batch -source overlay.tcl -tclargs board=pynq-z2 ip=/path/to/engine_z7020_256/solution/impl/ip \
#       name=pynq-z2-z7020-256 clock_mhz=100 [jobs=4]
#
# Boards: pynq-z1, pynq-z2 (Zynq-7000); zcu104, kv260 (Zynq UltraScale+). The board's files must be installed in Vivado.
# Run from an empty folder; <name>.bit, <name>.hwh, <name>_utilisation.rpt and <name>_timing.rpt are left in it.
#
# Ports: input tiles on HP0, weights on HP1, residual operands and descriptors together on HP2, results on HP3. One clock
# for everything; a free-running 32-bit counter on it feeds the engine's clock inputs.

set option(board) pynq-z2
set option(ip) ""
set option(name) ""
set option(clock_mhz) 100
set option(jobs) 4
foreach argument $::argv {
    if {![regexp {^(\w+)=(.*)$} $argument -> name value] || ![info exists option($name)]} {
        error "cannot read '$argument'; options are [join [lsort [array names option]] {, }], each as name=value"
    }
    set option($name) $value
}
if {$option(ip) eq ""} { error "ip= must name the folder of the packaged engine" }
if {$option(name) eq ""} { set option(name) $option(board) }

# board -> family, part, board_part without its version
array set boards {
    pynq-z1 {zynq   xc7z020clg400-1         www.digilentinc.com:pynq-z1:part0}
    pynq-z2 {zynq   xc7z020clg400-1         tul.com.tw:pynq-z2:part0}
    zcu104  {zynqmp xczu7ev-ffvc1156-2-e    xilinx.com:zcu104:part0}
    kv260   {zynqmp xck26-sfvc784-2LV-c     xilinx.com:kv260_som:part0}
}
if {![info exists boards($option(board))]} { error "unknown board; known are [lsort [array names boards]]" }
lassign $boards($option(board)) family part board_name
set board_parts [lsort -dictionary [get_board_parts -quiet "$board_name:*"]]
if {[llength $board_parts] == 0} { error "Vivado has no board files for $board_name; install them first" }

create_project -force $option(name) ./$option(name) -part $part
set_property board_part [lindex $board_parts end] [current_project]
set_property ip_repo_paths [file normalize $option(ip)] [current_project]
update_ip_catalog
create_bd_design design_1

# The processing system: its preset, one clock, one master for registers, four slaves for memory.
if {$family eq "zynq"} {
    set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7 ps]
    apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \
        -config {make_external "FIXED_IO, DDR" apply_board_preset "1" Master "Disable" Slave "Disable"} $ps
    set_property -dict [list CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ $option(clock_mhz) CONFIG.PCW_USE_M_AXI_GP0 1 \
        CONFIG.PCW_USE_S_AXI_HP0 1 CONFIG.PCW_USE_S_AXI_HP1 1 CONFIG.PCW_USE_S_AXI_HP2 1 CONFIG.PCW_USE_S_AXI_HP3 1 \
        CONFIG.PCW_S_AXI_HP0_DATA_WIDTH 64 CONFIG.PCW_S_AXI_HP1_DATA_WIDTH 64 \
        CONFIG.PCW_S_AXI_HP2_DATA_WIDTH 64 CONFIG.PCW_S_AXI_HP3_DATA_WIDTH 64] $ps
    set clock ps/FCLK_CLK0
    set reset ps/FCLK_RESET0_N
    set control_port ps/M_AXI_GP0
    set ps_clocks {ps/M_AXI_GP0_ACLK ps/S_AXI_HP0_ACLK ps/S_AXI_HP1_ACLK ps/S_AXI_HP2_ACLK ps/S_AXI_HP3_ACLK}
    set memory_ports {ps/S_AXI_HP0 ps/S_AXI_HP1 ps/S_AXI_HP2 ps/S_AXI_HP3}
} else {
    set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "1"} $ps
    # S_AXI_GP2 to GP5 are the ports HP0 to HP3.
    set_property -dict [list CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $option(clock_mhz) \
        CONFIG.PSU__FPGA_PL0_ENABLE 1 CONFIG.PSU__USE__M_AXI_GP0 1 CONFIG.PSU__USE__M_AXI_GP1 0 \
        CONFIG.PSU__USE__M_AXI_GP2 0 CONFIG.PSU__USE__S_AXI_GP2 1 CONFIG.PSU__USE__S_AXI_GP3 1 \
        CONFIG.PSU__USE__S_AXI_GP4 1 CONFIG.PSU__USE__S_AXI_GP5 1] $ps
    set clock ps/pl_clk0
    set reset ps/pl_resetn0
    set control_port ps/M_AXI_HPM0_FPD
    set ps_clocks {ps/maxihpm0_fpd_aclk ps/saxihp0_fpd_aclk ps/saxihp1_fpd_aclk ps/saxihp2_fpd_aclk ps/saxihp3_fpd_aclk}
    set memory_ports {ps/S_AXI_HP0_FPD ps/S_AXI_HP1_FPD ps/S_AXI_HP2_FPD ps/S_AXI_HP3_FPD}
}

create_bd_cell -type ip -vlnv proprune:hls:engine engine
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset resets
create_bd_cell -type ip -vlnv xilinx.com:ip:c_counter_binary ticks
set_property CONFIG.Output_Width 32 [get_bd_cells ticks]

# One SmartConnect for the registers and one for each memory port: it adapts AXI4 to AXI3, widths and burst lengths.
proc add_connect {name masters} {
    set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $name]
    set_property -dict [list CONFIG.NUM_SI $masters CONFIG.NUM_MI 1] $cell
}
add_connect connect_control 1
connect_bd_intf_net [get_bd_intf_pins $control_port] [get_bd_intf_pins connect_control/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins connect_control/M00_AXI] [get_bd_intf_pins engine/s_axi_control]
set connects {connect_control}
foreach {index masters} {0 {gmem_x} 1 {gmem_w} 2 {gmem_r gmem_d} 3 {gmem_y}} {
    set name connect_$index
    add_connect $name [llength $masters]
    set slot 0
    foreach master $masters {
        connect_bd_intf_net [get_bd_intf_pins engine/m_axi_$master] [get_bd_intf_pins $name/S0${slot}_AXI]
        incr slot
    }
    connect_bd_intf_net [get_bd_intf_pins $name/M00_AXI] [get_bd_intf_pins [lindex $memory_ports $index]]
    lappend connects $name
}

set clocked [list engine/ap_clk resets/slowest_sync_clk ticks/CLK]
foreach name $connects { lappend clocked $name/aclk }
foreach pin [concat $clocked $ps_clocks] {
    connect_bd_net [get_bd_pins $clock] [get_bd_pins $pin]
}
connect_bd_net [get_bd_pins $reset] [get_bd_pins resets/ext_reset_in]
connect_bd_net [get_bd_pins resets/peripheral_aresetn] [get_bd_pins engine/ap_rst_n]
foreach name $connects {
    connect_bd_net [get_bd_pins resets/interconnect_aresetn] [get_bd_pins $name/aresetn]
}
connect_bd_net [get_bd_pins ticks/Q] [get_bd_pins engine/clock_layer] [get_bd_pins engine/clock_accumulate]

assign_bd_address
validate_bd_design
save_bd_design
set design [get_files design_1.bd]
set_property synth_checkpoint_mode None $design
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top design_1_wrapper [current_fileset]
update_compile_order -fileset sources_1

launch_runs impl_1 -to_step write_bitstream -jobs $option(jobs)
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} { error "implementation failed; see the run's log" }

open_run impl_1
report_utilization -file $option(name)_utilisation.rpt
report_timing_summary -file $option(name)_timing.rpt
set slack [get_property SLACK [get_timing_paths -delay_type max]]
if {$slack < 0} { error "the clock of $option(clock_mhz) MHz is missed by $slack ns; no bitstream is kept" }
set run [get_property DIRECTORY [get_runs impl_1]]
file copy -force $run/design_1_wrapper.bit $option(name).bit
set handoff [lindex [glob -directory ./$option(name) */sources_1/bd/design_1/hw_handoff/design_1.hwh] 0]
file copy -force $handoff $option(name).hwh
puts "$option(name): worst slack $slack ns"
