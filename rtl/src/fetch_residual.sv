// Process: reads the residual operand in the order in which the output words leave; where it is broadcast, the one word
// of each group. The addresses of a block's planes come from the residual table, on the same port as the operands; they
// are asked for some blocks ahead, so that nobody waits for one memory latency after the other.
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
    // Asking for the addresses of planes, as many blocks ahead as there are heads of blocks and room for addresses.
    typedef enum logic [1:0] {TAKE, BLOCK, ASK} ask_state_t;
    ask_state_t ask_state;
    jobs_pkg::residual_t asking;
    jobs_pkg::emit_t head;
    logic [15:0] blocks_to_ask;
    logic passes; // the job on to the operands
    logic pass_ready, table_wanted, table_asked;
    logic [3:0] room; // for addresses that were not asked for

    assign job_ready    = ask_state == TAKE && pass_ready;
    assign passes       = job_valid && job_ready;
    assign emit_ready   = ask_state == BLOCK && blocks_to_ask != 0 && group_count_ready;
    assign table_wanted = ask_state == ASK && room >= head.groups;

    // Operands, block after block.
    typedef enum logic [1:0] {START, GROUPS, ROWS, COUNT} state_t;
    state_t state;
    jobs_pkg::residual_t next, now;
    logic next_valid;
    logic [15:0] blocks_left, runs_left, pixels_left;
    logic [3:0] groups_left;
    logic [31:0] row, address;
    logic single, wanted, asked;

    fifo #(.WIDTH($bits(job)), .DEPTH(2)) jobs (
        .clk, .rst, .in_valid(job_valid && ask_state == TAKE), .in_ready(pass_ready), .in_data(job),
        .out_valid(next_valid), .out_ready(state == START), .out_data(next)
    );
    // Groups of the blocks whose addresses were asked for, or that need none.
    logic group_count_ready, group_count_valid, group_count_taken;
    logic [3:0] group_count;
    fifo #(.WIDTH(4), .DEPTH(8)) group_counts (
        .clk, .rst, .in_valid(emit_valid && ask_state == BLOCK && blocks_to_ask != 0), .in_ready(group_count_ready),
        .in_data(asking.used ? emit.groups : 4'd0),
        .out_valid(group_count_valid), .out_ready(group_count_taken), .out_data(group_count)
    );
    assign single            = now.pixel_step != 4'd1;
    assign wanted            = state == ROWS && runs_left != 0;
    assign group_count_taken = state == GROUPS && groups_left == 0 && blocks_left != 0;
    assign count_valid       = state == COUNT;

    // One port for both: addresses first, which are few. What was asked for is kept, in order.
    logic kind_ready, kind_valid, kind_taken, kind_table, plane_valid, plane_ready, unused_room;
    logic [31:0] kind_length, taken, plane;
    assign request.done = 1'b0;
    always_comb begin
        request.address = address;
        request.length  = single ? 32'd1 : 32'(now.bursts.length);
        if (table_wanted) begin
            request.address = asking.residual_table + 32'(head.out_group);
            request.length  = 32'(head.groups);
        end
    end
    assign request_valid = kind_ready && (table_wanted || wanted);
    assign table_asked   = request_valid && request_ready && table_wanted;
    assign asked         = request_valid && request_ready && !table_wanted;
    fifo #(.WIDTH(33), .DEPTH(16)) kinds (
        .clk, .rst, .in_valid((table_wanted || wanted) && request_ready), .in_ready(kind_ready),
        .in_data({table_wanted, request.length}),
        .out_valid(kind_valid), .out_ready(kind_taken), .out_data({kind_table, kind_length})
    );
    fifo #(.WIDTH(32), .DEPTH(8)) planes (
        .clk, .rst, .in_valid(kind_valid && kind_table && data_valid), .in_ready(unused_room), .in_data(data[31:0]),
        .out_valid(plane_valid), .out_ready(plane_ready), .out_data(plane)
    );
    assign plane_ready = state == GROUPS && groups_left != 0;
    assign word        = data;
    assign word_valid  = kind_valid && !kind_table && data_valid;
    assign data_ready  = kind_valid && (kind_table || word_ready);
    assign kind_taken  = data_valid && data_ready && taken + 1'b1 == kind_length;

    always_ff @(posedge clk) begin
        if (data_valid && data_ready) taken <= kind_taken ? '0 : taken + 1'b1;
        room <= room - (table_asked ? head.groups : 4'd0) + 4'(plane_valid && plane_ready);
        case (ask_state)
            TAKE: begin
                asking        <= job;
                blocks_to_ask <= job.emit_blocks;
                if (passes) ask_state <= BLOCK;
            end
            BLOCK: begin
                head <= emit;
                if (blocks_to_ask == 0) ask_state <= TAKE;
                else if (emit_valid && emit_ready) begin
                    blocks_to_ask <= blocks_to_ask - 1'b1;
                    if (asking.used) ask_state <= ASK;
                end
            end
            default: if (table_asked) ask_state <= BLOCK;
        endcase
        case (state)
            START: begin
                now         <= next;
                blocks_left <= next.emit_blocks;
                groups_left <= '0;
                count       <= '0;
                if (next_valid) state <= GROUPS;
            end
            GROUPS: begin
                runs_left   <= now.bursts.runs;
                pixels_left <= now.bursts.length;
                row         <= plane + now.bursts.offset;
                address     <= plane + now.bursts.offset;
                if (groups_left == 0) begin
                    if (blocks_left == 0) state <= COUNT;
                    else if (group_count_valid) begin
                        groups_left <= group_count;
                        blocks_left <= blocks_left - 1'b1;
                    end
                end else if (plane_valid) begin
                    groups_left <= groups_left - 1'b1;
                    state       <= ROWS;
                end
            end
            ROWS: begin
                if (asked) begin
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
                if (runs_left == 0 || (asked && runs_left == 1 && (!single || pixels_left == 1))) state <= GROUPS;
            end
            default: if (count_ready) state <= START;
        endcase
        if (rst) begin
            ask_state <= TAKE;
            state     <= START;
            taken     <= '0;
            room      <= 4'd8;
        end
    end
endmodule
