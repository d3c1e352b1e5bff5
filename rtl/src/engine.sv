// The engine: registers, the processes, and the queues between them. docs/engine.md is the contract.
module engine #(
    parameter int BURST = 64 // beats of a burst at most, at every memory port
) (
    input  logic        clk,
    input  logic        rst,
    // Registers.
    input  logic [ 7:0] s_awaddr,
    input  logic        s_awvalid,
    output logic        s_awready,
    input  logic [31:0] s_wdata,
    input  logic [ 3:0] s_wstrb,
    input  logic        s_wvalid,
    output logic        s_wready,
    output logic [ 1:0] s_bresp,
    output logic        s_bvalid,
    input  logic        s_bready,
    input  logic [ 7:0] s_araddr,
    input  logic        s_arvalid,
    output logic        s_arready,
    output logic [31:0] s_rdata,
    output logic [ 1:0] s_rresp,
    output logic        s_rvalid,
    input  logic        s_rready,
    // Memory, read for input tiles.
    output logic [39:0] x_araddr,
    output logic [ 7:0] x_arlen,
    output logic        x_arvalid,
    input  logic        x_arready,
    input  logic [63:0] x_rdata,
    input  logic        x_rlast,
    input  logic        x_rvalid,
    output logic        x_rready,
    // Memory, read for the weight stream.
    output logic [39:0] w_araddr,
    output logic [ 7:0] w_arlen,
    output logic        w_arvalid,
    input  logic        w_arready,
    input  logic [64*array_pkg::WEIGHT_PORT_WORDS-1:0] w_rdata,
    input  logic        w_rlast,
    input  logic        w_rvalid,
    output logic        w_rready,
    // Memory, read for residual operands.
    output logic [39:0] r_araddr,
    output logic [ 7:0] r_arlen,
    output logic        r_arvalid,
    input  logic        r_arready,
    input  logic [63:0] r_rdata,
    input  logic        r_rlast,
    input  logic        r_rvalid,
    output logic        r_rready,
    // Memory, read for descriptors and tables.
    output logic [39:0] d_araddr,
    output logic [ 7:0] d_arlen,
    output logic        d_arvalid,
    input  logic        d_arready,
    input  logic [63:0] d_rdata,
    input  logic        d_rlast,
    input  logic        d_rvalid,
    output logic        d_rready,
    // Memory, written.
    output logic [39:0] y_awaddr,
    output logic [ 7:0] y_awlen,
    output logic        y_awvalid,
    input  logic        y_awready,
    output logic [63:0] y_wdata,
    output logic        y_wlast,
    output logic        y_wvalid,
    input  logic        y_wready,
    input  logic        y_bvalid,
    output logic        y_bready,
    output logic        irq // for one cycle, at the end of a run
);
    localparam int IC = array_pkg::IC;
    localparam int OC = array_pkg::OC;
    localparam int PORT = array_pkg::WEIGHT_PORT_WORDS;
    localparam int BANK_BITS = $clog2(array_pkg::BANK_DEPTH);
    localparam int ENTRY_BITS = $clog2(array_pkg::ACC_DEPTH);
    localparam int SCRATCH_BITS = $clog2(array_pkg::SCRATCH_WORDS);

    // A run.
    logic start, finished, completed;
    logic [63:0] features, weights_base, residual_base, descriptors, results;
    logic [31:0] layer_table, step_count, counters, steps_completed, clock;
    logic running;
    registers file (
        .clk, .rst, .awaddr(s_awaddr), .awvalid(s_awvalid), .awready(s_awready), .wdata(s_wdata), .wstrb(s_wstrb),
        .wvalid(s_wvalid), .wready(s_wready), .bresp(s_bresp), .bvalid(s_bvalid), .bready(s_bready),
        .araddr(s_araddr), .arvalid(s_arvalid), .arready(s_arready), .rdata(s_rdata), .rresp(s_rresp),
        .rvalid(s_rvalid), .rready(s_rready), .start, .finished, .features, .weights(weights_base),
        .residual(residual_base), .descriptors, .results, .layer_table, .step_count, .counters,
        .completed(steps_completed)
    );
    assign finished  = running && steps_completed == step_count;
    assign irq = finished;
    always_ff @(posedge clk) begin
        clock <= clock + 1'b1;
        if (completed) steps_completed <= steps_completed + 1'b1;
        if (start) begin
            steps_completed <= '0;
            running         <= 1'b1;
        end
        if (finished) running <= 1'b0;
        if (rst) begin
            clock           <= '0;
            steps_completed <= '0;
            running         <= 1'b0;
        end
    end

    // Jobs: as read_step makes them (`made`), and as the processes find them.
    logic [10:0] jobs_valid, jobs_ready;
    logic [7:0] hold_made, hold_job;
    logic hold_job_valid, hold_job_ready;
    jobs_pkg::fetch_t fetch_made, fetch_job;
    logic fetch_job_valid, fetch_job_ready;
    jobs_pkg::fill_t fill_made, fill_job;
    logic fill_job_valid, fill_job_ready;
    jobs_pkg::weight_t weight_made, weight_job;
    logic weight_job_valid, weight_job_ready;
    jobs_pkg::assemble_t assemble_made, assemble_job;
    logic assemble_job_valid, assemble_job_ready;
    jobs_pkg::accumulate_t accumulate_made, accumulate_job;
    logic accumulate_job_valid, accumulate_job_ready;
    jobs_pkg::requantise_t requantise_made, requantise_job;
    logic requantise_job_valid, requantise_job_ready;
    jobs_pkg::residual_t residual_made, residual_job;
    logic residual_job_valid, residual_job_ready;
    jobs_pkg::combine_t combine_made, combine_job;
    logic combine_job_valid, combine_job_ready;
    jobs_pkg::store_t store_made, store_job;
    logic store_job_valid, store_job_ready;
    jobs_pkg::collect_t collect_made, collect_job;
    logic collect_job_valid, collect_job_ready;
    fifo #(.WIDTH($bits(hold_made)), .DEPTH(2)) hold_jobs (
        .clk, .rst, .in_valid(jobs_valid[0]), .in_ready(jobs_ready[0]), .in_data(hold_made),
        .out_valid(hold_job_valid), .out_ready(hold_job_ready), .out_data(hold_job)
    );
    jobs_pkg::fetch_t fetch_held;
    logic fetch_held_valid, fetch_held_ready, fetch_goes, fetch_fits;
    fifo #(.WIDTH($bits(fetch_made)), .DEPTH(2)) fetch_jobs_held (
        .clk, .rst, .in_valid(jobs_valid[1]), .in_ready(jobs_ready[1]), .in_data(fetch_made),
        .out_valid(fetch_held_valid), .out_ready(fetch_held_ready), .out_data(fetch_held)
    );
    fifo #(.WIDTH($bits(fetch_held)), .DEPTH(2)) fetch_jobs (
        .clk, .rst, .in_valid(fetch_goes), .in_ready(fetch_fits), .in_data(fetch_held),
        .out_valid(fetch_job_valid), .out_ready(fetch_job_ready), .out_data(fetch_job)
    );
    fifo #(.WIDTH($bits(fill_made)), .DEPTH(2)) fill_jobs (
        .clk, .rst, .in_valid(jobs_valid[2]), .in_ready(jobs_ready[2]), .in_data(fill_made),
        .out_valid(fill_job_valid), .out_ready(fill_job_ready), .out_data(fill_job)
    );
    fifo #(.WIDTH($bits(weight_made)), .DEPTH(2)) weight_jobs (
        .clk, .rst, .in_valid(jobs_valid[3]), .in_ready(jobs_ready[3]), .in_data(weight_made),
        .out_valid(weight_job_valid), .out_ready(weight_job_ready), .out_data(weight_job)
    );
    fifo #(.WIDTH($bits(assemble_made)), .DEPTH(2)) assemble_jobs (
        .clk, .rst, .in_valid(jobs_valid[4]), .in_ready(jobs_ready[4]), .in_data(assemble_made),
        .out_valid(assemble_job_valid), .out_ready(assemble_job_ready), .out_data(assemble_job)
    );
    fifo #(.WIDTH($bits(accumulate_made)), .DEPTH(8)) accumulate_jobs (
        .clk, .rst, .in_valid(jobs_valid[5]), .in_ready(jobs_ready[5]), .in_data(accumulate_made),
        .out_valid(accumulate_job_valid), .out_ready(accumulate_job_ready), .out_data(accumulate_job)
    );
    fifo #(.WIDTH($bits(requantise_made)), .DEPTH(8)) requantise_jobs (
        .clk, .rst, .in_valid(jobs_valid[6]), .in_ready(jobs_ready[6]), .in_data(requantise_made),
        .out_valid(requantise_job_valid), .out_ready(requantise_job_ready), .out_data(requantise_job)
    );
    jobs_pkg::residual_t residual_held;
    logic residual_held_valid, residual_held_ready, residual_goes, residual_fits;
    fifo #(.WIDTH($bits(residual_made)), .DEPTH(2)) residual_jobs_held (
        .clk, .rst, .in_valid(jobs_valid[7]), .in_ready(jobs_ready[7]), .in_data(residual_made),
        .out_valid(residual_held_valid), .out_ready(residual_held_ready), .out_data(residual_held)
    );
    fifo #(.WIDTH($bits(residual_held)), .DEPTH(8)) residual_jobs (
        .clk, .rst, .in_valid(residual_goes), .in_ready(residual_fits), .in_data(residual_held),
        .out_valid(residual_job_valid), .out_ready(residual_job_ready), .out_data(residual_job)
    );
    fifo #(.WIDTH($bits(combine_made)), .DEPTH(8)) combine_jobs (
        .clk, .rst, .in_valid(jobs_valid[8]), .in_ready(jobs_ready[8]), .in_data(combine_made),
        .out_valid(combine_job_valid), .out_ready(combine_job_ready), .out_data(combine_job)
    );
    fifo #(.WIDTH($bits(store_made)), .DEPTH(8)) store_jobs (
        .clk, .rst, .in_valid(jobs_valid[9]), .in_ready(jobs_ready[9]), .in_data(store_made),
        .out_valid(store_job_valid), .out_ready(store_job_ready), .out_data(store_job)
    );
    fifo #(.WIDTH($bits(collect_made)), .DEPTH(8)) collect_jobs (
        .clk, .rst, .in_valid(jobs_valid[10]), .in_ready(jobs_ready[10]), .in_data(collect_made),
        .out_valid(collect_job_valid), .out_ready(collect_job_ready), .out_data(collect_job)
    );

    // Descriptors and tables.
    jobs_pkg::request_t d_request;
    logic d_request_valid, d_request_ready, d_valid, d_ready, d_word_valid, d_word_ready;
    logic [63:0] d_data, d_word, passed;
    logic plane_in_valid, plane_in_ready, plane_valid, plane_ready;
    logic pattern_in_valid, pattern_in_ready, pattern_valid, pattern_ready;
    logic before_in_valid, before_in_ready, before_valid, before_ready;
    logic after_in_valid, after_in_ready, after_valid, after_ready;
    logic [31:0] plane;
    logic [63:0] pattern, before_word, after_word;
    axi_read #(.BURST(BURST)) port_d (
        .clk, .rst, .base(descriptors[39:0]), .request_valid(d_request_valid), .request_ready(d_request_ready),
        .request(d_request), .data_valid(d_valid), .data_ready(d_ready), .data(d_data), .araddr(d_araddr),
        .arlen(d_arlen), .arvalid(d_arvalid), .arready(d_arready), .rdata(d_rdata), .rlast(d_rlast),
        .rvalid(d_rvalid), .rready(d_rready)
    );
    fifo #(.WIDTH(64), .DEPTH(32)) descriptor_words (
        .clk, .rst, .in_valid(d_valid), .in_ready(d_ready), .in_data(d_data),
        .out_valid(d_word_valid), .out_ready(d_word_ready), .out_data(d_word)
    );
    read_step reader (
        .clk, .rst, .start, .layer_table, .step_count, .counters, .request_valid(d_request_valid),
        .request_ready(d_request_ready), .request(d_request), .word_valid(d_word_valid), .word_ready(d_word_ready),
        .word(d_word), .jobs_valid, .jobs_ready, .hold_job(hold_made), .fetch_job(fetch_made), .fill_job(fill_made),
        .weight_job(weight_made), .assemble_job(assemble_made), .accumulate_job(accumulate_made),
        .requantise_job(requantise_made), .residual_job(residual_made), .combine_job(combine_made),
        .store_job(store_made), .collect_job(collect_made), .plane_valid(plane_in_valid),
        .plane_ready(plane_in_ready), .pattern_valid(pattern_in_valid), .pattern_ready(pattern_in_ready),
        .table_before_valid(before_in_valid), .table_before_ready(before_in_ready),
        .table_after_valid(after_in_valid), .table_after_ready(after_in_ready), .passed
    );
    fifo #(.WIDTH(32), .DEPTH(64)) planes (
        .clk, .rst, .in_valid(plane_in_valid), .in_ready(plane_in_ready), .in_data(passed[31:0]),
        .out_valid(plane_valid), .out_ready(plane_ready), .out_data(plane)
    );
    fifo #(.WIDTH(64), .DEPTH(64)) pattern_words (
        .clk, .rst, .in_valid(pattern_in_valid), .in_ready(pattern_in_ready), .in_data(passed),
        .out_valid(pattern_valid), .out_ready(pattern_ready), .out_data(pattern)
    );
    fifo #(.WIDTH(64), .DEPTH(32)) table_words_before (
        .clk, .rst, .in_valid(before_in_valid), .in_ready(before_in_ready), .in_data(passed),
        .out_valid(before_valid), .out_ready(before_ready), .out_data(before_word)
    );
    fifo #(.WIDTH(64), .DEPTH(32)) table_words_after (
        .clk, .rst, .in_valid(after_in_valid), .in_ready(after_in_ready), .in_data(passed),
        .out_valid(after_valid), .out_ready(after_ready), .out_data(after_word)
    );
    hold_loads holder (
        .clk, .rst, .job_valid(hold_job_valid), .job_ready(hold_job_ready), .depends(hold_job), .completed,
        .held_fetch_valid(fetch_held_valid), .held_fetch_ready(fetch_held_ready),
        .held_residual_valid(residual_held_valid), .held_residual_ready(residual_held_ready),
        .fetch_valid(fetch_goes), .fetch_ready(fetch_fits), .residual_valid(residual_goes),
        .residual_ready(residual_fits)
    );

    // Input tiles.
    jobs_pkg::request_t x_request;
    logic x_request_valid, x_request_ready, x_valid, x_ready, far_valid, far_ready, input_valid, input_ready;
    logic [63:0] x_data, far_word, input_word, scratch_out, scratch_in;
    logic scratch_read, scratch_write;
    logic [SCRATCH_BITS-1:0] scratch_read_address, scratch_write_address;
    logic fetched_in_valid, fetched_in_ready, fetched_valid, fetched_ready;
    logic [31:0] fetched_in, fetched;
    axi_read #(.BURST(BURST)) port_x (
        .clk, .rst, .base(features[39:0]), .request_valid(x_request_valid), .request_ready(x_request_ready),
        .request(x_request), .data_valid(x_valid), .data_ready(x_ready), .data(x_data), .araddr(x_araddr),
        .arlen(x_arlen), .arvalid(x_arvalid), .arready(x_arready), .rdata(x_rdata), .rlast(x_rlast),
        .rvalid(x_rvalid), .rready(x_rready)
    );
    fifo_ram #(.WIDTH(64), .DEPTH(array_pkg::STREAM_FIFO)) input_words (
        .clk, .rst, .in_valid(x_valid), .in_ready(x_ready), .in_data(x_data),
        .out_valid(far_valid), .out_ready(far_ready), .out_data(far_word)
    );
    ram #(.WIDTH(64), .DEPTH(array_pkg::SCRATCH_WORDS)) scratch (
        .clk, .write(scratch_write), .write_address(scratch_write_address), .write_data(scratch_in),
        .read(scratch_read), .read_address(scratch_read_address), .read_data(scratch_out)
    );
    fetch_input fetcher (
        .clk, .rst, .job_valid(fetch_job_valid), .job_ready(fetch_job_ready), .job(fetch_job), .plane_valid,
        .plane_ready, .plane, .request_valid(x_request_valid), .request_ready(x_request_ready), .request(x_request),
        .far_valid, .far_ready, .far_word, .scratch_read, .scratch_address(scratch_read_address),
        .scratch_word(scratch_out), .word_valid(input_valid), .word_ready(input_ready), .word(input_word),
        .count_valid(fetched_in_valid), .count_ready(fetched_in_ready), .count(fetched_in)
    );
    logic bank_free, bank_filled, bank_full, bank_released;
    logic [array_pkg::IC_GROUPS-1:0] bank_write;
    logic [BANK_BITS-1:0] bank_write_address;
    logic [8*IC-1:0] bank_write_codes, codes_0, codes_1;
    logic [IC*BANK_BITS-1:0] address_0, address_1;
    fill_banks filler (
        .clk, .rst, .job_valid(fill_job_valid), .job_ready(fill_job_ready), .job(fill_job), .word_valid(input_valid),
        .word_ready(input_ready), .word(input_word), .bank_free, .bank_filled, .write(bank_write),
        .address(bank_write_address), .codes(bank_write_codes)
    );
    banks lanes (
        .clk, .rst, .free(bank_free), .filled(bank_filled), .write(bank_write), .write_address(bank_write_address),
        .write_codes(bank_write_codes), .full(bank_full), .released(bank_released), .address_0, .address_1, .codes_0,
        .codes_1
    );

    // Weights.
    jobs_pkg::request_t w_request;
    logic w_request_valid, w_request_ready, w_valid, w_ready, beat_valid, beat_ready;
    logic [64*PORT-1:0] w_data, beat;
    logic weighed_in_valid, weighed_in_ready, weighed_valid, weighed_ready;
    logic [31:0] weighed_in, weighed;
    read_weights weigher (
        .clk, .rst, .job_valid(weight_job_valid), .job_ready(weight_job_ready), .job(weight_job),
        .request_valid(w_request_valid), .request_ready(w_request_ready), .request(w_request),
        .count_valid(weighed_in_valid), .count_ready(weighed_in_ready), .count(weighed_in)
    );
    axi_read #(.WORDS(PORT), .BURST(BURST)) port_w (
        .clk, .rst, .base(weights_base[39:0]), .request_valid(w_request_valid), .request_ready(w_request_ready),
        .request(w_request), .data_valid(w_valid), .data_ready(w_ready), .data(w_data), .araddr(w_araddr),
        .arlen(w_arlen), .arvalid(w_arvalid), .arready(w_arready), .rdata(w_rdata), .rlast(w_rlast),
        .rvalid(w_rvalid), .rready(w_rready)
    );
    fifo_ram #(.WIDTH(64 * PORT), .DEPTH(array_pkg::STREAM_FIFO)) weight_beats (
        .clk, .rst, .in_valid(w_valid), .in_ready(w_ready), .in_data(w_data),
        .out_valid(beat_valid), .out_ready(beat_ready), .out_data(beat)
    );
    logic block_in_valid, block_in_ready, block_valid, block_ready, block_in_init, block_in_emit, block_init, block_emit;
    logic [32*OC-1:0] block_in_bias, block_bias;
    logic [ENTRY_BITS-1:0] block_in_entry, block_entry;
    logic tap_in_valid, tap_in_ready, tap_valid, tap_ready;
    jobs_pkg::tap_t tap_in, tap;
    logic weights_in_valid, weights_in_ready, weights_valid, weights_ready;
    logic [8*IC*OC-1:0] weights_in, weights;
    logic emit_in_valid, scales_valid, scales_ready;
    logic [3:0] emit_in_ready;
    logic residual_emit_valid, residual_emit_ready, combine_emit_valid, combine_emit_ready, store_emit_valid,
        store_emit_ready;
    jobs_pkg::emit_t emit_in, residual_emit, combine_emit, store_emit;
    logic [16*OC-1:0] multipliers_in, multipliers;
    logic [3:0] scale_groups;
    assemble assembler (
        .clk, .rst, .job_valid(assemble_job_valid), .job_ready(assemble_job_ready), .job(assemble_job), .beat_valid,
        .beat_ready, .beat, .block_valid(block_in_valid), .block_ready(block_in_ready), .block_bias(block_in_bias),
        .block_entry(block_in_entry), .block_init(block_in_init), .block_emit(block_in_emit),
        .tap_valid(tap_in_valid), .tap_ready(tap_in_ready), .tap(tap_in), .weights_valid(weights_in_valid),
        .weights_ready(weights_in_ready), .weights(weights_in), .emit_valid(emit_in_valid),
        .emit_ready(emit_in_ready), .emit(emit_in), .multipliers(multipliers_in)
    );
    fifo #(.WIDTH(32 * OC + ENTRY_BITS + 2), .DEPTH(2)) blocks (
        .clk, .rst, .in_valid(block_in_valid), .in_ready(block_in_ready), .in_data({block_in_bias, block_in_entry, block_in_init, block_in_emit}),
        .out_valid(block_valid), .out_ready(block_ready), .out_data({block_bias, block_entry, block_init, block_emit})
    );
    fifo #(.WIDTH($bits(tap_in)), .DEPTH(4)) taps (
        .clk, .rst, .in_valid(tap_in_valid), .in_ready(tap_in_ready), .in_data(tap_in),
        .out_valid(tap_valid), .out_ready(tap_ready), .out_data(tap)
    );
    fifo #(.WIDTH(8 * IC * OC), .DEPTH(2)) tap_weights (
        .clk, .rst, .in_valid(weights_in_valid), .in_ready(weights_in_ready), .in_data(weights_in),
        .out_valid(weights_valid), .out_ready(weights_ready), .out_data(weights)
    );
    fifo #(.WIDTH(16 * OC + 4), .DEPTH(4)) scales (
        .clk, .rst, .in_valid(emit_in_valid), .in_ready(emit_in_ready[0]), .in_data({multipliers_in, emit_in.groups}),
        .out_valid(scales_valid), .out_ready(scales_ready), .out_data({multipliers, scale_groups})
    );
    fifo #(.WIDTH($bits(emit_in)), .DEPTH(4)) residual_emits (
        .clk, .rst, .in_valid(emit_in_valid), .in_ready(emit_in_ready[1]), .in_data(emit_in),
        .out_valid(residual_emit_valid), .out_ready(residual_emit_ready), .out_data(residual_emit)
    );
    fifo #(.WIDTH($bits(emit_in)), .DEPTH(4)) combine_emits (
        .clk, .rst, .in_valid(emit_in_valid), .in_ready(emit_in_ready[2]), .in_data(emit_in),
        .out_valid(combine_emit_valid), .out_ready(combine_emit_ready), .out_data(combine_emit)
    );
    fifo #(.WIDTH($bits(emit_in)), .DEPTH(4)) store_emits (
        .clk, .rst, .in_valid(emit_in_valid), .in_ready(emit_in_ready[3]), .in_data(emit_in),
        .out_valid(store_emit_valid), .out_ready(store_emit_ready), .out_data(store_emit)
    );

    // The array.
    logic sums_in_valid, sums_valid, sums_ready, sums_fit;
    logic [64*OC-1:0] sums_in, sums;
    logic accumulated_in_valid, accumulated_in_ready, accumulated_valid, accumulated_ready;
    jobs_pkg::accumulated_t accumulated_in, accumulated;
    accumulate array (
        .clk, .rst, .job_valid(accumulate_job_valid), .job_ready(accumulate_job_ready), .job(accumulate_job),
        .pattern_valid, .pattern_ready, .pattern, .block_valid, .block_ready, .block_bias, .block_entry, .block_init,
        .block_emit, .tap_valid, .tap_ready, .tap, .weights_valid, .weights_ready, .weights, .bank_full,
        .bank_released, .address_0, .address_1, .codes_0, .codes_1, .sums_valid(sums_in_valid),
        .sums_taken(sums_valid && sums_ready), .sums(sums_in), .count_valid(accumulated_in_valid),
        .count_ready(accumulated_in_ready), .count(accumulated_in)
    );
    fifo_ram #(.WIDTH(64 * OC), .DEPTH(array_pkg::ACC_DEPTH)) sums_queue (
        .clk, .rst, .in_valid(sums_in_valid), .in_ready(sums_fit), .in_data(sums_in),
        .out_valid(sums_valid), .out_ready(sums_ready), .out_data(sums)
    );

    // The output stage.
    logic [array_pkg::OC_GROUPS-1:0] word_in_valid, word_fits, word_valid, word_ready;
    logic [63:0] word_in;
    logic [64*array_pkg::OC_GROUPS-1:0] group_words;
    requantise requantiser (
        .clk, .rst, .job_valid(requantise_job_valid), .job_ready(requantise_job_ready), .job(requantise_job),
        .scales_valid, .scales_ready, .multipliers, .groups(scale_groups), .sums_valid, .sums_ready, .sums,
        .table_valid(before_valid), .table_ready(before_ready), .table_word(before_word), .word_valid(word_in_valid),
        .word(word_in), .word_taken(word_valid & word_ready)
    );
    generate
        for (genvar n = 0; n < array_pkg::OC_GROUPS; n++) begin : g_words
            fifo_ram #(.WIDTH(64), .DEPTH(array_pkg::WORD_FIFO)) words (
                .clk, .rst, .in_valid(word_in_valid[n]), .in_ready(word_fits[n]), .in_data(word_in),
                .out_valid(word_valid[n]), .out_ready(word_ready[n]), .out_data(group_words[64*n+:64])
            );
        end
    endgenerate
    jobs_pkg::request_t r_request;
    logic r_request_valid, r_request_ready, r_valid, r_ready, operand_in_valid, operand_in_ready, operand_valid,
        operand_ready;
    logic [63:0] r_data, operand_in, operand;
    logic residuals_in_valid, residuals_in_ready, residuals_valid, residuals_ready;
    logic [31:0] residuals_in, residuals;
    axi_read #(.BURST(BURST)) port_r (
        .clk, .rst, .base(residual_base[39:0]), .request_valid(r_request_valid), .request_ready(r_request_ready),
        .request(r_request), .data_valid(r_valid), .data_ready(r_ready), .data(r_data), .araddr(r_araddr),
        .arlen(r_arlen), .arvalid(r_arvalid), .arready(r_arready), .rdata(r_rdata), .rlast(r_rlast),
        .rvalid(r_rvalid), .rready(r_rready)
    );
    fetch_residual residual_fetcher (
        .clk, .rst, .job_valid(residual_job_valid), .job_ready(residual_job_ready), .job(residual_job),
        .emit_valid(residual_emit_valid), .emit_ready(residual_emit_ready), .emit(residual_emit),
        .request_valid(r_request_valid), .request_ready(r_request_ready), .request(r_request), .data_valid(r_valid),
        .data_ready(r_ready), .data(r_data), .word_valid(operand_in_valid), .word_ready(operand_in_ready),
        .word(operand_in), .count_valid(residuals_in_valid), .count_ready(residuals_in_ready), .count(residuals_in)
    );
    fifo_ram #(.WIDTH(64), .DEPTH(array_pkg::STREAM_FIFO)) residual_words (
        .clk, .rst, .in_valid(operand_in_valid), .in_ready(operand_in_ready), .in_data(operand_in),
        .out_valid(operand_valid), .out_ready(operand_ready), .out_data(operand)
    );
    logic output_in_valid, output_fits, output_valid, output_ready;
    logic [63:0] output_in, output_word;
    combine combiner (
        .clk, .rst, .job_valid(combine_job_valid), .job_ready(combine_job_ready), .job(combine_job),
        .emit_valid(combine_emit_valid), .emit_ready(combine_emit_ready), .emit(combine_emit),
        .group_valid(word_valid), .group_ready(word_ready), .group_word(group_words), .operand_valid, .operand_ready,
        .operand, .table_valid(after_valid), .table_ready(after_ready), .table_word(after_word),
        .word_valid(output_in_valid), .word(output_in), .word_taken(output_valid && output_ready)
    );
    fifo_ram #(.WIDTH(64), .DEPTH(array_pkg::STREAM_FIFO)) output_words (
        .clk, .rst, .in_valid(output_in_valid), .in_ready(output_fits), .in_data(output_in),
        .out_valid(output_valid), .out_ready(output_ready), .out_data(output_word)
    );
    jobs_pkg::request_t y_request;
    logic y_request_valid, y_request_ready, y_valid, y_ready, y_data_valid, y_data_ready;
    logic [63:0] y_data, y_word;
    logic totals_valid, totals_ready;
    jobs_pkg::totals_t totals;
    store storer (
        .clk, .rst, .start, .clock, .job_valid(store_job_valid), .job_ready(store_job_ready), .job(store_job),
        .emit_valid(store_emit_valid), .emit_ready(store_emit_ready), .emit(store_emit), .word_valid(output_valid),
        .word_ready(output_ready), .word(output_word), .totals_valid, .totals_ready, .totals,
        .request_valid(y_request_valid), .request_ready(y_request_ready), .request(y_request), .data_valid(y_valid),
        .data_ready(y_ready), .data(y_data), .scratch_write, .scratch_address(scratch_write_address),
        .scratch_word(scratch_in)
    );
    fifo #(.WIDTH(64), .DEPTH(64)) stored_words (
        .clk, .rst, .in_valid(y_valid), .in_ready(y_ready), .in_data(y_data),
        .out_valid(y_data_valid), .out_ready(y_data_ready), .out_data(y_word)
    );
    axi_write #(.BURST(BURST)) port_y (
        .clk, .rst, .base(results[39:0]), .request_valid(y_request_valid), .request_ready(y_request_ready),
        .request(y_request), .data_valid(y_data_valid), .data_ready(y_data_ready), .data(y_word), .completed,
        .awaddr(y_awaddr), .awlen(y_awlen), .awvalid(y_awvalid), .awready(y_awready), .wdata(y_wdata),
        .wlast(y_wlast), .wvalid(y_wvalid), .wready(y_wready), .bvalid(y_bvalid), .bready(y_bready)
    );

    // Counters.
    fifo #(.WIDTH($bits(accumulated)), .DEPTH(4)) accumulated_counts (
        .clk, .rst, .in_valid(accumulated_in_valid), .in_ready(accumulated_in_ready), .in_data(accumulated_in),
        .out_valid(accumulated_valid), .out_ready(accumulated_ready), .out_data(accumulated)
    );
    fifo #(.WIDTH(32), .DEPTH(4)) fetched_counts (
        .clk, .rst, .in_valid(fetched_in_valid), .in_ready(fetched_in_ready), .in_data(fetched_in),
        .out_valid(fetched_valid), .out_ready(fetched_ready), .out_data(fetched)
    );
    fifo #(.WIDTH(32), .DEPTH(4)) weighed_counts (
        .clk, .rst, .in_valid(weighed_in_valid), .in_ready(weighed_in_ready), .in_data(weighed_in),
        .out_valid(weighed_valid), .out_ready(weighed_ready), .out_data(weighed)
    );
    fifo #(.WIDTH(32), .DEPTH(4)) residuals_counts (
        .clk, .rst, .in_valid(residuals_in_valid), .in_ready(residuals_in_ready), .in_data(residuals_in),
        .out_valid(residuals_valid), .out_ready(residuals_ready), .out_data(residuals)
    );
    collect collector (
        .clk, .rst, .job_valid(collect_job_valid), .job_ready(collect_job_ready), .job(collect_job),
        .accumulated_valid, .accumulated_ready, .accumulated, .fetched_valid, .fetched_ready, .fetched,
        .weights_valid(weighed_valid), .weights_ready(weighed_ready), .weights(weighed), .residuals_valid,
        .residuals_ready, .residuals, .totals_valid, .totals_ready, .totals
    );

`ifdef VERILATOR
    // Those whose writers count what room there is.
    always_ff @(posedge clk) if (!rst) begin
        if (sums_in_valid && !sums_fit) $fatal(1, "sums were lost");
        if (output_in_valid && !output_fits) $fatal(1, "output words were lost");
        if ((word_in_valid & ~word_fits) != '0) $fatal(1, "words of a group were lost");
    end
`endif
endmodule
