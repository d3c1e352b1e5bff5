// Process: int32 sums to int8 codes, replaced by the table's where wanted, one word (a pixel's channel group) per cycle.
module requantise (
    input  logic                  clk,
    input  logic                  rst,
    input  logic                  job_valid,
    output logic                  job_ready,
    input  jobs_pkg::requantise_t job,
    input  logic                  scales_valid,
    output logic                  scales_ready,
    input  logic [16*array_pkg::OC-1:0] multipliers,
    input  logic [3:0]            groups,
    input  logic                  sums_valid,
    output logic                  sums_ready,
    input  logic [64*array_pkg::OC-1:0] sums,
    input  logic                  table_valid,
    output logic                  table_ready,
    input  logic [63:0]           table_word,
    output logic [array_pkg::OC_GROUPS-1:0] word_valid, // to the queue of its group
    output logic [63:0]           word,
    input  logic [array_pkg::OC_GROUPS-1:0] word_taken // one left the queue
);
    localparam int OC = array_pkg::OC;
    localparam int GROUPS = array_pkg::OC_GROUPS;
    localparam int CREDIT_BITS = $clog2(array_pkg::WORD_FIFO) + 1;
    localparam int STAGES = 6; // from the sums to the word

    typedef enum logic [1:0] {TAKE, RECEIVE, BLOCK, PIXELS} state_t;
    state_t state;
    jobs_pkg::requantise_t now;
    logic [15:0] blocks_left;
    logic [31:0] pixels_left;
    logic [3:0] group;
    logic second; // pixel of the beat
    logic goes, last_group, room;
    logic [CREDIT_BITS-1:0] credit[GROUPS];
    logic [STAGES:1] valid;
    logic [3:0] group_at[STAGES+1];

    always_comb begin
        room = 1'b0;
        for (int n = 0; n < GROUPS; n++) if (group == 4'(n) && credit[n] != 0) room = 1'b1;
    end
    assign last_group   = group + 1'b1 == groups;
    assign goes         = state == PIXELS && pixels_left != 0 && sums_valid && room;
    assign sums_ready   = goes && last_group && (second || pixels_left == 32'd1);
    assign scales_ready = state == PIXELS && pixels_left == 0;
    // The words before may still look codes up in the table that is there.
    assign job_ready    = state == TAKE && (!job.new_table || valid == 0);

    logic received;
    always_ff @(posedge clk) begin
        case (state)
            TAKE: begin
                now         <= job;
                blocks_left <= job.emit_blocks;
                if (job_valid && job_ready) state <= job.new_table ? RECEIVE : BLOCK;
            end
            RECEIVE: if (received) state <= BLOCK;
            BLOCK: begin
                pixels_left <= now.pixels;
                group       <= '0;
                second      <= 1'b0;
                if (blocks_left == 0) state <= TAKE;
                else if (scales_valid) state <= PIXELS;
            end
            default: begin
                if (goes) begin
                    group <= last_group ? 4'd0 : group + 1'b1;
                    if (last_group) begin
                        second      <= !second;
                        pixels_left <= pixels_left - 1'b1;
                    end
                end
                if (pixels_left == 0) begin
                    blocks_left <= blocks_left - 1'b1;
                    state       <= BLOCK;
                end
            end
        endcase
        valid <= {valid[STAGES-1:1], goes};
        for (int n = 0; n < GROUPS; n++) begin
            credit[n] <= credit[n] - CREDIT_BITS'(goes && group == 4'(n)) + CREDIT_BITS'(word_taken[n]);
            if (rst) credit[n] <= CREDIT_BITS'(array_pkg::WORD_FIFO);
        end
        if (rst) begin
            state <= TAKE;
            valid <= '0;
        end
    end
    assign group_at[0] = group;
    always_ff @(posedge clk) for (int i = 1; i <= STAGES; i++) group_at[i] <= group_at[i-1];

    // Of the job that a word belongs to, which may have ended.
    logic max_then, relu_then, look_up_then;
    delay #(.WIDTH(2), .CYCLES(4)) for_code (.clk, .in_data({now.max, now.relu}), .out_data({max_then, relu_then}));
    delay #(.WIDTH(1), .CYCLES(5)) for_table (.clk, .in_data(now.look_up), .out_data(look_up_then));

    // Cycle 1: the sums and multipliers of the word.
    logic [255:0] chosen;
    logic [127:0] scale;
    always_ff @(posedge clk) begin
        for (int k = 0; k < 8; k++) begin
            chosen[32*k+:32] <= second ? sums[32*(OC+8*group+k)+:32] : sums[32*(8*group+k)+:32];
            scale[16*k+:16]  <= multipliers[16*(8*group+k)+:16];
        end
    end

    // Cycles 2 to 4: sum * multiplier + 1/2 in one DSP, whose fraction of 16 bits is 0 where the product lay half way
    // between two codes: then the even one is next. |sum| < 2^24 is the compiler's promise: 25 x 17 bits.
    logic [63:0] codes, sums_then, scaled;
    delay #(.WIDTH(64), .CYCLES(3)) for_max (.clk, .in_data(low_bytes(chosen)), .out_data(sums_then));
    function automatic logic [63:0] low_bytes(input logic [255:0] values);
        for (int k = 0; k < 8; k++) low_bytes[8*k+:8] = values[32*k+:8];
    endfunction
    generate
        for (genvar k = 0; k < 8; k++) begin : g_lane
            logic signed [47:0] p;
            multiply_add #(.A_BITS(25), .B_BITS(17), .FIRST(1'b1)) product (
                .clk, .a(chosen[32*k+:25]), .load_b(1'b1), .b({1'b0, scale[16*k+:16]}), .load_c(1'b1),
                .c(48'sd32768), .cascade(48'sd0), .passed(), .p
            );
            logic signed [31:0] rounded;
            assign rounded = {p[47:17], p[16] && p[15:0] != 0};
            assign scaled[8*k+:8] = rounded > 32'sd127 ? 8'd127 : rounded < -32'sd128 ? 8'h80 : rounded[7:0];
        end
    endgenerate

    // Cycle 5: the code; cycle 6: the table's.
    always_ff @(posedge clk) begin
        for (int k = 0; k < 8; k++) begin
            codes[8*k+:8] <= clamped(max_then ? sums_then[8*k+:8] : scaled[8*k+:8], relu_then);
        end
    end
    function automatic logic [7:0] clamped(input logic [7:0] code, input logic relu);
        clamped = relu && code[7] ? 8'd0 : code;
    endfunction

    lookup replace (
        .clk, .rst, .receives(state == RECEIVE), .word_valid(table_valid), .word_ready(table_ready),
        .word(table_word), .received, .used(look_up_then), .codes, .replaced(word)
    );
    always_comb begin
        for (int n = 0; n < GROUPS; n++) word_valid[n] = valid[STAGES] && group_at[STAGES] == 4'(n);
    end
endmodule
