// Process: reads the residual operand in the order in which the output words leave; where it is broadcast, the one word
// of each group. The addresses of a block's planes come from the residual table, on the same port as the operands, and
// leave the port's stream before them: so they are waited for, and the operands are not.
module fetch_residual (
    input  logic                clk,
    input  logic                rst,
    input  logic                job_valid,
    output logic                job_ready,
    input  jobs_pkg::residual_t job,
    input  logic                emit_valid,
    output logic                emit_ready,
    input  jobs_pkg::emit_t     emit,
    output logic                request_valid,
    input  logic                request_ready,
    output jobs_pkg::request_t  request,
    input  logic                data_valid,
    output logic                data_ready,
    input  logic [63:0]         data,
    output logic                word_valid,
    input  logic                word_ready,
    output logic [63:0]         word,
    output logic                count_valid,
    input  logic                count_ready,
    output logic [31:0]         count
);
    typedef enum logic [2:0] {TAKE, BLOCK, ASK, GROUP, RUNS, COUNT} state_t;
    state_t state;
    jobs_pkg::residual_t now;
    logic [15:0] blocks_left, runs_left, pixels_left;
    logic [3:0] groups_left;
    jobs_pkg::emit_t emit_held;
    logic [31:0] row, address;
    logic single, asks;

    assign single    = now.pixel_step != 4'd1;
    assign job_ready = state == TAKE;
    assign emit_ready = state == BLOCK && blocks_left != 0;
    assign count_valid = state == COUNT;

    // What was asked for, in order: addresses of planes, or operands.
    logic kind_ready, kind_valid, kind_taken, kind_table, plane_valid, plane_room, plane_ready;
    logic [31:0] kind_length, taken, plane;
    assign request.done = 1'b0;
    always_comb begin
        request.address = address;
        request.length  = single ? 32'd1 : 32'(now.bursts.length);
        if (state == ASK) begin
            request.address = now.residual_table + 32'(emit_held.out_group);
            request.length  = 32'(emit_held.groups);
        end
    end
    assign request_valid = kind_ready && (state == ASK || (state == RUNS && runs_left != 0));
    assign asks          = request_valid && request_ready;
    fifo #(.WIDTH(33), .DEPTH(16)) kinds (
        .clk, .rst, .in_valid(asks), .in_ready(kind_ready), .in_data({state == ASK, request.length}),
        .out_valid(kind_valid), .out_ready(kind_taken), .out_data({kind_table, kind_length})
    );
    fifo #(.WIDTH(32), .DEPTH(4)) planes (
        .clk, .rst, .in_valid(kind_valid && kind_table && data_valid), .in_ready(plane_room), .in_data(data[31:0]),
        .out_valid(plane_valid), .out_ready(plane_ready), .out_data(plane)
    );
    assign plane_ready = state == GROUP && groups_left != 0;
    assign word        = data;
    assign word_valid  = kind_valid && !kind_table && data_valid;
    assign data_ready  = kind_valid && (kind_table ? plane_room : word_ready);
    assign kind_taken  = data_valid && data_ready && taken + 1'b1 == kind_length;
    always_ff @(posedge clk) begin
        if (rst) taken <= '0;
        else if (data_valid && data_ready) taken <= kind_taken ? '0 : taken + 1'b1;
    end

    always_ff @(posedge clk) begin
        case (state)
            TAKE: begin
                now         <= job;
                blocks_left <= job.emit_blocks;
                count       <= '0;
                if (job_valid) state <= BLOCK;
            end
            BLOCK: begin
                emit_held   <= emit;
                groups_left <= emit.groups;
                if (blocks_left == 0) state <= COUNT;
                else if (emit_valid) begin
                    blocks_left <= blocks_left - 1'b1;
                    if (now.used) state <= ASK;
                end
            end
            ASK: if (asks) state <= GROUP;
            GROUP: begin
                runs_left   <= now.bursts.runs;
                pixels_left <= now.bursts.length;
                row         <= plane + now.bursts.offset;
                address     <= plane + now.bursts.offset;
                if (groups_left == 0) state <= BLOCK;
                else if (plane_valid) begin
                    groups_left <= groups_left - 1'b1;
                    state       <= RUNS;
                end
            end
            RUNS: begin
                if (asks) begin
                    count       <= count + request.length;
                    pixels_left <= pixels_left - 1'b1;
                    address     <= address + 32'(now.pixel_step);
                    if (!single || pixels_left == 1) begin
                        pixels_left <= now.bursts.length;
                        runs_left   <= runs_left - 1'b1;
                        row         <= row + now.bursts.pitch;
                        address     <= row + now.bursts.pitch;
                    end
                end
                if (runs_left == 0) state <= GROUP;
            end
            default: if (count_ready) state <= TAKE;
        endcase
        if (rst) state <= TAKE;
    end
endmodule
