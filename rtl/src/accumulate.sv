// Process: the array. One beat of one tap in each cycle: addresses, banks, products, and the accumulators behind them.
// Nothing stalls on the way: a beat whose sums will leave starts when the queue behind has room for them.
//
// A beat starts in cycle 0; its codes are there in cycle CODES, its products in cycle SUMS, the accumulator is written in
// the cycle after.
module accumulate (
    input  logic                   clk,
    input  logic                   rst,
    input  logic                   job_valid,
    output logic                   job_ready,
    input  jobs_pkg::accumulate_t  job,
    input  logic                   pattern_valid,
    output logic                   pattern_ready,
    input  logic [63:0]            pattern,
    input  logic                   block_valid,
    output logic                   block_ready,
    input  logic [32*array_pkg::OC-1:0] block_bias,
    input  logic [$clog2(array_pkg::ACC_DEPTH)-1:0] block_entry,
    input  logic                   block_init,
    input  logic                   block_emit,
    input  logic                   tap_valid,
    output logic                   tap_ready,
    input  jobs_pkg::tap_t         tap,
    input  logic                   weights_valid,
    output logic                   weights_ready,
    input  logic [8*array_pkg::IC*array_pkg::OC-1:0] weights,
    input  logic                   bank_full,
    output logic                   bank_released,
    output logic [array_pkg::IC*$clog2(array_pkg::BANK_DEPTH)-1:0] address_0,
    output logic [array_pkg::IC*$clog2(array_pkg::BANK_DEPTH)-1:0] address_1,
    input  logic [8*array_pkg::IC-1:0] codes_0,
    input  logic [8*array_pkg::IC-1:0] codes_1,
    output logic                   sums_valid,
    input  logic                   sums_taken, // one entry left the queue
    output logic [64*array_pkg::OC-1:0] sums, // of both pixels
    output logic                   count_valid,
    input  logic                   count_ready,
    output jobs_pkg::accumulated_t count
);
    localparam int IC = array_pkg::IC;
    localparam int OC = array_pkg::OC;
    localparam int BITS = $clog2(array_pkg::BANK_DEPTH);
    localparam int ENTRY_BITS = $clog2(array_pkg::ACC_DEPTH);
    localparam int PATTERN_BITS = $clog2(array_pkg::MAX_PATTERNS);
    localparam int CODES = 4;
    localparam int SUMS = CODES + 4 + array_pkg::DSP_CHAIN;
    localparam int CREDIT_BITS = ENTRY_BITS + 1;

    // A step: its job, the patterns of a new layer, its beats, and their end.
    typedef enum logic [2:0] {TAKE, PATTERNS, RUN, RELEASE, COUNT} state_t;
    state_t state;
    jobs_pkg::accumulate_t now;
    logic [31:0] taps_left; // that were not begun
    logic [31:0] span;

    // Lane patterns: four offsets come with each word.
    logic [7:0] pattern_number;
    logic [3:0] quarter;
    (* ram_style = "distributed" *) logic [16*IC-1:0] patterns[array_pkg::MAX_PATTERNS];
    logic [16*IC-1:0] offsets_of_pattern, received;
    assign pattern_ready      = state == PATTERNS && pattern_number != now.pattern_count;
    assign offsets_of_pattern = patterns[tap.pattern[PATTERN_BITS-1:0]];
    always_ff @(posedge clk) begin
        if (pattern_valid && pattern_ready) begin
            received <= {pattern, received[16*IC-1:64]};
            if (quarter == 4'(array_pkg::PATTERN_WORDS - 1)) begin
                patterns[pattern_number[PATTERN_BITS-1:0]] <= {pattern, received[16*IC-1:64]};
            end
        end
    end

    // The tap in hand.
    logic held, fresh, emits, block_emits, load;
    logic [16*IC-1:0] offsets;
    logic [ENTRY_BITS-1:0] entry;
    logic [15:0] beat, real_beats;
    logic begins, takes, last_beat, stores;
    logic [CREDIT_BITS-1:0] credit;

    assign real_beats = 16'((now.pixels + 32'd1) >> 1);
    assign last_beat  = beat + 1'b1 == now.beats;
    assign stores     = emits && beat < real_beats;
    assign begins     = state == RUN && held && bank_full && (!stores || credit != 0);
    assign takes      = state == RUN && taps_left != 0 && (!held || (begins && last_beat)) && tap_valid
        && (tap.reuse || weights_valid) && (!tap.first || block_valid);
    assign tap_ready   = takes;
    assign block_ready = takes && tap.first;
    assign job_ready   = state == TAKE;

    logic [BITS-1:0] start_0, start_1;
    walk #(.BITS(BITS)) pixels (
        .clk, .restart(state != RUN || (begins && last_beat)), .advance(begins), .pixels(now.pixels),
        .tile_width(now.tile_width), .stride_x(now.stride_x), .row_step(now.row_step[BITS-1:0]),
        .start_0, .start_1
    );

    // What goes with a beat; numbered by the cycle in which it is there.
    typedef struct packed {
        logic valid;
        logic load; // the tap's weights
        logic bias; // the block's
        logic fresh;
        logic max;
        logic stores;
        logic [ENTRY_BITS-1:0] entry;
    } beat_t;
    beat_t begun;
    logic [$bits(begun)-1:0] at[SUMS+2]; // from 1 on; plain bits, since Yosys takes no field of an array's element
    beat_t at_1, at_weights, at_codes, at_read, at_sums, at_write;
    assign at_1       = at[1];
    assign at_weights = at[CODES-1];
    assign at_codes   = at[CODES];
    assign at_read    = at[SUMS-1];
    assign at_sums    = at[SUMS];
    assign at_write   = at[SUMS+1];
    logic new_block;
    always_comb begin
        begun.valid  = begins;
        begun.load   = begins && load && beat == 0;
        begun.bias   = begins && new_block && beat == 0;
        begun.fresh  = fresh;
        begun.max    = now.max;
        begun.stores = begins && stores;
        begun.entry  = entry + beat[ENTRY_BITS-1:0];
    end
    always_ff @(posedge clk) begin
        at[1] <= begun;
        for (int i = 2; i < SUMS + 2; i++) at[i] <= at[i-1];
        if (rst) for (int i = 1; i < SUMS + 2; i++) at[i] <= '0;
    end

    // Cycle 1: addresses.
    logic [BITS-1:0] from_0, from_1;
    logic [16*IC-1:0] offsets_then;
    always_ff @(posedge clk) begin
        from_0       <= start_0;
        from_1       <= start_1;
        offsets_then <= offsets;
        for (int l = 0; l < IC; l++) begin
            address_0[BITS*l+:BITS] <= from_0 + offsets_then[16*l+:BITS];
            address_1[BITS*l+:BITS] <= from_1 + offsets_then[16*l+:BITS];
        end
    end

    // The weights leave their queue in time for cycle CODES and stay for as long as a tap lasts at least.
    logic [8*IC*OC-1:0] weights_held;
    assign weights_ready = at_weights.load;
    always_ff @(posedge clk) if (weights_ready) weights_held <= weights;

    logic [32*OC-1:0] products_0, products_1;
    dot multipliers (
        .clk, .load(at_codes.load), .weights(weights_held), .codes_0, .codes_1,
        .sums_0(products_0), .sums_1(products_1)
    );

    // Maximum of the codes of the lanes l with l mod OC = o.
    logic [16*OC-1:0] maxima, maxima_then;
    always_ff @(posedge clk) begin
        for (int o = 0; o < OC; o++) begin
            for (int j = 0; j < 2; j++) maxima[8*(OC*j+o)+:8] <= most(j == 0 ? codes_0 : codes_1, o);
        end
    end
    function automatic logic signed [7:0] most(input logic [8*IC-1:0] codes, input int o);
        most = codes[8*o+:8];
        for (int l = o + OC; l < IC; l += OC) begin
            if (signed'(codes[8*l+:8]) > most) most = codes[8*l+:8];
        end
    endfunction
    delay #(.WIDTH(16 * OC), .CYCLES(SUMS - CODES - 1)) until_sums (.clk, .in_data(maxima), .out_data(maxima_then));

    // The biases of a block wait until its first beat comes to the accumulators.
    logic unused_ready, unused_valid; // a block has MIN_BEATS beats at least, so no more than three wait
    logic [32*OC-1:0] next_bias, bias;
    fifo #(.WIDTH(32 * OC), .DEPTH(4)) biases (
        .clk, .rst, .in_valid(block_ready && block_valid), .in_ready(unused_ready), .in_data(block_bias),
        .out_valid(unused_valid), .out_ready(at_read.bias), .out_data(next_bias)
    );
    always_ff @(posedge clk) if (at_read.bias) bias <= next_bias;

    logic [64*OC-1:0] old, result;
    ram #(.WIDTH(64 * OC), .DEPTH(array_pkg::ACC_DEPTH)) accumulators (
        .clk, .write(at_write.valid), .write_address(at_write.entry), .write_data(sums),
        .read(at_read.valid), .read_address(at_read.entry), .read_data(old)
    );
    always_comb begin
        for (int o = 0; o < OC; o++) begin
            for (int j = 0; j < 2; j++) begin
                result[32*(OC*j+o)+:32] = accumulated(
                    at_sums.fresh ? (at_sums.max ? -32'sd128 : bias[32*o+:32]) : old[32*(OC*j+o)+:32],
                    at_sums.max ? 32'(signed'(maxima_then[8*(OC*j+o)+:8]))
                        : j == 0 ? products_0[32*o+:32] : products_1[32*o+:32],
                    at_sums.max);
            end
        end
    end
    function automatic logic signed [31:0] accumulated(input logic signed [31:0] sum, input logic signed [31:0] part,
                                                       input logic max);
        accumulated = !max ? sum + part : part > sum ? part : sum;
    endfunction
    always_ff @(posedge clk) sums <= result;
    assign sums_valid = at_write.stores;

    assign bank_released = state == RELEASE && !at_1.valid;
    assign count_valid   = state == COUNT;
    assign count.iterations = now.iterations;
    assign count.taps       = now.taps;
    assign count.span       = span;

    always_ff @(posedge clk) begin
        credit <= credit - CREDIT_BITS'(begins && stores) + CREDIT_BITS'(sums_taken);
        if (begins) beat <= last_beat ? 16'd0 : beat + 1'b1;
        if (begins && last_beat) held <= 1'b0;
        if (takes) begin
            taps_left <= taps_left - 1'b1;
            held      <= 1'b1;
            load      <= !tap.reuse;
            new_block <= tap.first;
            fresh     <= tap.first && block_init;
            emits     <= tap.last && (tap.first ? block_emit : block_emits);
            if (tap.first) begin
                entry       <= block_entry;
                block_emits <= block_emit;
            end
            for (int l = 0; l < IC; l++) offsets[16*l+:16] <= tap.base + offsets_of_pattern[16*l+:16];
        end
        if (state == RUN && bank_full) span <= span + 1'b1;
        if (pattern_valid && pattern_ready) begin
            quarter <= quarter + 1'b1;
            if (quarter == 4'(array_pkg::PATTERN_WORDS - 1)) begin
                quarter        <= '0;
                pattern_number <= pattern_number + 1'b1;
            end
        end
        case (state)
            TAKE: begin
                now            <= job;
                taps_left      <= job.taps;
                pattern_number <= '0;
                span           <= '0;
                if (job_valid) state <= PATTERNS;
            end
            PATTERNS: if (pattern_number == now.pattern_count) state <= RUN;
            // A step without taps has a tile all the same.
            RUN: if (taps_left == 0 && bank_full && (!held || (begins && last_beat))) state <= RELEASE;
            RELEASE: if (bank_released) state <= COUNT;
            default: if (count_ready) state <= TAKE;
        endcase
        if (rst) begin
            state   <= TAKE;
            held    <= 1'b0;
            beat    <= '0;
            quarter <= '0;
            credit  <= CREDIT_BITS'(array_pkg::ACC_DEPTH);
        end
    end
endmodule
