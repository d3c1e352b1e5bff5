// Process: puts the words of a block in order of their groups, combines them with the residual operand, clamps, and
// replaces codes by the table's where wanted; one word per cycle.
module combine (
    input  logic               clk,
    input  logic               rst,
    input  logic               job_valid,
    output logic               job_ready,
    input  jobs_pkg::combine_t job,
    input  logic               emit_valid,
    output logic               emit_ready,
    input  jobs_pkg::emit_t    emit,
    input  logic [array_pkg::OC_GROUPS-1:0]    group_valid,
    output logic [array_pkg::OC_GROUPS-1:0]    group_ready,
    input  logic [64*array_pkg::OC_GROUPS-1:0] group_word,
    input  logic               operand_valid,
    output logic               operand_ready,
    input  logic [63:0]        operand,
    input  logic               table_valid,
    output logic               table_ready,
    input  logic [63:0]        table_word,
    output logic               word_valid,
    output logic [63:0]        word,
    input  logic               word_taken // one left the queue behind
);
    localparam int GROUPS = array_pkg::OC_GROUPS;
    localparam int DEPTH = array_pkg::STREAM_FIFO;
    localparam int CREDIT_BITS = $clog2(DEPTH) + 1;
    localparam int STAGES = 7;

    typedef enum logic [1:0] {TAKE, RECEIVE, BLOCK, PIXELS} state_t;
    state_t state;
    jobs_pkg::combine_t now;
    logic [15:0] blocks_left;
    logic [31:0] pixels_left;
    logic [3:0] group;
    logic fresh; // the first pixel of a group
    logic combines, needs, goes, there; // the group's word
    logic [63:0] chosen;
    logic [CREDIT_BITS-1:0] credit;
    logic [STAGES:1] valid;

    assign combines      = now.combine != isa_pkg::COMBINE_NONE;
    assign needs         = combines && (fresh || !now.broadcast);
    assign goes          = state == PIXELS && pixels_left != 0 && there && (!needs || operand_valid)
        && credit != 0;
    assign operand_ready = goes && needs;
    // The words before may still look codes up in the table that is there, and keep to their job.
    assign job_ready     = state == TAKE && valid == 0;
    assign emit_ready    = state == PIXELS && pixels_left == 0 && group + 1'b1 == emit.groups;
    always_comb begin
        there  = 1'b0;
        chosen = '0;
        for (int n = 0; n < GROUPS; n++) begin
            group_ready[n] = goes && group == 4'(n);
            if (group == 4'(n)) begin
                there  = group_valid[n];
                chosen = group_word[64*n+:64];
            end
        end
    end

    logic received;
    always_ff @(posedge clk) begin
        case (state)
            TAKE: begin
                if (job_valid && job_ready) begin
                    now         <= job;
                    blocks_left <= job.emit_blocks;
                    state       <= job.new_table ? RECEIVE : BLOCK;
                end
            end
            RECEIVE: if (received) state <= BLOCK;
            BLOCK: begin
                pixels_left <= now.pixels;
                group       <= '0;
                fresh       <= 1'b1;
                if (blocks_left == 0) state <= TAKE;
                else if (emit_valid) state <= PIXELS;
            end
            default: begin
                if (goes) begin
                    pixels_left <= pixels_left - 1'b1;
                    fresh       <= 1'b0;
                end
                if (pixels_left == 0) begin
                    pixels_left <= now.pixels;
                    fresh       <= 1'b1;
                    group       <= group + 1'b1;
                    if (emit_ready) begin
                        blocks_left <= blocks_left - 1'b1;
                        state       <= BLOCK;
                    end
                end
            end
        endcase
        valid  <= {valid[STAGES-1:1], goes};
        credit <= credit - CREDIT_BITS'(goes) + CREDIT_BITS'(word_taken);
        if (rst) begin
            state  <= TAKE;
            valid  <= '0;
            credit <= CREDIT_BITS'(DEPTH);
        end
    end

    // Cycle 1: both words. 2: the product. 3: shifted left. 4: the sum, and one half. 5: shifted right. 6: the code.
    // 7: the table's. One half added, the bits below the shift are 0 where a sum lay half way between two codes: then the
    // even one is next.
    logic [63:0] q, r, codes;
    always_ff @(posedge clk) begin
        q <= chosen;
        if (operand_ready) r <= operand;
    end
    logic multiply;
    logic [15:0] below; // the shift
    logic [31:0] half;
    assign multiply = now.combine == isa_pkg::COMBINE_MULTIPLY;
    assign below    = (16'd1 << now.shift_y) - 1'b1;
    assign half     = (32'd1 << now.shift_y) >> 1;

    generate
        for (genvar k = 0; k < 8; k++) begin : g_lane
            logic signed [15:0] first;
            logic signed [7:0] r_then;
            logic signed [31:0] a, b, sum, shifted;
            logic signed [7:0] code;
            logic even;
            always_ff @(posedge clk) begin
                first   <= multiply ? 16'(signed'(q[8*k+:8])) * 16'(signed'(r[8*k+:8])) : 16'(signed'(q[8*k+:8]));
                r_then  <= r[8*k+:8];
                a       <= combines ? 32'(first) <<< now.shift_a : 32'(first);
                b       <= combines && !multiply ? 32'(r_then) <<< now.shift_b : 32'sd0;
                sum     <= (now.subtract ? a - b : a + b) + (combines ? signed'(half) : 32'sd0);
                shifted <= combines ? sum >>> now.shift_y : sum;
                even    <= combines && now.shift_y != 0 && (sum[15:0] & below) == 0;
                codes[8*k+:8] <= now.relu && code < 0 ? 8'd0 : code;
            end
            logic signed [31:0] rounded;
            assign rounded = {shifted[31:1], shifted[0] && !even};
            assign code = rounded > 32'sd127 ? 8'sd127 : rounded < -32'sd128 ? -8'sd128 : rounded[7:0];
        end
    endgenerate
    lookup replace (
        .clk, .rst, .receives(state == RECEIVE), .word_valid(table_valid), .word_ready(table_ready),
        .word(table_word), .received, .used(now.look_up), .codes, .replaced(word)
    );
    assign word_valid = valid[STAGES];
endmodule
