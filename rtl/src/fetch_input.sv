// Process: reads the words of an input tile that lie inside the image, group after group, row after row, from memory or
// from the engine's own. Rows are asked for ahead; their words are put in order behind.
module fetch_input (
    input  logic               clk,
    input  logic               rst,
    input  logic               job_valid,
    output logic               job_ready,
    input  jobs_pkg::fetch_t   job,
    input  logic               plane_valid,
    output logic               plane_ready,
    input  logic [31:0]        plane,
    output logic               request_valid,
    input  logic               request_ready,
    output jobs_pkg::request_t request,
    input  logic               far_valid, // words from memory
    output logic               far_ready,
    input  logic [63:0]        far_word,
    output logic               scratch_read,
    output logic [$clog2(array_pkg::SCRATCH_WORDS)-1:0] scratch_address,
    input  logic [63:0]        scratch_word, // a cycle later
    output logic               word_valid,
    input  logic               word_ready,
    output logic [63:0]        word,
    output logic               count_valid,
    input  logic               count_ready,
    output logic [31:0]        count
);
    localparam int SCRATCH_BITS = $clog2(array_pkg::SCRATCH_WORDS);

    // Asking: one row in a cycle.
    typedef enum logic [1:0] {TAKE, PLANE, RUNS, COUNT} state_t;
    state_t state;
    jobs_pkg::fetch_t now;
    logic [15:0] groups_left, runs_left;
    logic [31:0] address;
    logic on_chip;
    logic row_valid, row_ready, asks;

    assign job_ready     = state == TAKE;
    assign plane_ready   = state == PLANE && groups_left != 0;
    assign row_valid     = state == RUNS && runs_left != 0;
    assign asks          = row_valid && row_ready && (on_chip || request_ready);
    assign request_valid = row_valid && row_ready && !on_chip;
    assign request.address = address;
    assign request.length  = 32'(now.bursts.length);
    assign request.done    = 1'b0;
    assign count_valid   = state == COUNT;

    always_ff @(posedge clk) begin
        case (state)
            TAKE: begin
                now         <= job;
                groups_left <= job.groups;
                count       <= '0;
                if (job_valid) state <= PLANE;
            end
            PLANE: begin
                runs_left <= now.bursts.runs;
                address   <= {1'b0, plane[30:0]} + now.bursts.offset;
                on_chip      <= plane[isa_pkg::ON_CHIP_BIT];
                if (groups_left == 0) state <= COUNT;
                else if (plane_valid) begin
                    groups_left <= groups_left - 1'b1;
                    state       <= RUNS;
                end
            end
            RUNS: begin
                if (asks) begin
                    runs_left <= runs_left - 1'b1;
                    address   <= address + now.bursts.pitch;
                    count     <= count + 32'(now.bursts.length);
                end
                if (runs_left == 0 || (asks && runs_left == 1)) state <= PLANE;
            end
            default: if (count_ready) state <= TAKE;
        endcase
        if (rst) state <= TAKE;
    end

    // Putting in order.
    typedef struct packed {
        logic on_chip;
        logic [SCRATCH_BITS-1:0] address;
        logic [15:0] length;
    } row_t;
    row_t asked, row;
    logic next_valid, next_ready;
    assign asked.on_chip    = on_chip;
    assign asked.address = address[SCRATCH_BITS-1:0];
    assign asked.length  = now.bursts.length;
    fifo #(.WIDTH($bits(asked)), .DEPTH(16)) rows (
        .clk, .rst, .in_valid(row_valid && (on_chip || request_ready)), .in_ready(row_ready), .in_data(asked),
        .out_valid(next_valid), .out_ready(next_ready), .out_data(row)
    );

    logic [15:0] taken; // words of the row in hand
    logic moves, last, has_room;
    logic [63:0] joined;
    logic joined_valid;

    // A word of the scratch memory is asked for where the queue behind is sure to have room for it a cycle later.
    logic [2:0] room;
    assign has_room      = room != 0;
    assign last            = taken + 1'b1 >= row.length;
    assign moves           = next_valid && row.length != 0 && has_room && (row.on_chip || far_valid);
    assign next_ready      = next_valid && (row.length == 0 || (moves && last));
    assign far_ready       = next_valid && row.length != 0 && has_room && !row.on_chip;
    assign scratch_read    = moves && row.on_chip;
    assign scratch_address = row.address + SCRATCH_BITS'(taken);

    logic from_scratch;
    logic [63:0] far_held;
    assign joined = from_scratch ? scratch_word : far_held;
    always_ff @(posedge clk) begin
        joined_valid <= moves;
        from_scratch <= row.on_chip;
        far_held     <= far_word;
        if (moves) taken <= last ? 16'd0 : taken + 1'b1;
        room <= room - 3'(moves) + 3'(word_valid && word_ready);
        if (rst) begin
            joined_valid <= 1'b0;
            taken        <= '0;
            room         <= 3'd4;
        end
    end

    logic unused_ready; // there is room: see above
    fifo #(.WIDTH(64), .DEPTH(4)) words (
        .clk, .rst, .in_valid(joined_valid), .in_ready(unused_ready), .in_data(joined),
        .out_valid(word_valid), .out_ready(word_ready), .out_data(word)
    );
endmodule
