// Process: makes block heads and wide taps of the weight stream, one transfer of the port per cycle. The last transfer
// of a record goes straight on with the ones before it, so a record costs its transfers and nothing else.
module assemble (
    input  logic                clk,
    input  logic                rst,
    input  logic                job_valid,
    output logic                job_ready,
    input  jobs_pkg::assemble_t job,
    input  logic                beat_valid,
    output logic                beat_ready,
    input  logic [64*array_pkg::WEIGHT_PORT_WORDS-1:0] beat,
    output logic                block_valid,
    input  logic                block_ready,
    output logic [32*array_pkg::OC-1:0] block_bias,
    output logic [$clog2(array_pkg::ACC_DEPTH)-1:0] block_entry, // slot * beats
    output logic                block_init,
    output logic                block_emit,
    output logic                tap_valid,
    input  logic                tap_ready,
    output jobs_pkg::tap_t      tap,
    output logic                weights_valid,
    input  logic                weights_ready,
    output logic [8*array_pkg::IC*array_pkg::OC-1:0] weights, // of output lane o and input lane l at byte o * IC + l
    output logic                emit_valid, // to each of the four
    input  logic [3:0]          emit_ready,
    output jobs_pkg::emit_t     emit,
    output logic [16*array_pkg::OC-1:0] multipliers
);
    localparam int IC = array_pkg::IC;
    localparam int OC = array_pkg::OC;
    localparam int PORT = array_pkg::WEIGHT_PORT_WORDS;
    localparam int LONGEST = array_pkg::TAP_WORDS > array_pkg::BLOCK_WORDS ? array_pkg::TAP_WORDS
        : array_pkg::BLOCK_WORDS;
    localparam int BEATS = LONGEST / PORT;
    localparam int BITS = $clog2(BEATS + 1);
    localparam int ENTRY_BITS = $clog2(array_pkg::ACC_DEPTH);

    logic [31:0] left; // beats of the step
    logic [15:0] beats;
    logic [64*PORT*BEATS-1:0] record, whole; // the record so far; with the beat that is on its way in
    logic [BITS-1:0] filled, length;
    logic [15:0] taps_left, taps; // 0: the record is a block's head
    logic head, complete, goes, first;

    isa_pkg::block_t block_header;
    isa_pkg::tap_t start_header, tap_header;
    assign head         = taps_left == 0;
    assign start_header = filled == 0 ? beat[63:0] : record[63:0];
    assign block_header = whole[63:0];
    assign tap_header   = whole[63:0];

    always_comb begin
        length = BITS'(array_pkg::TAP_WORDS / PORT);
        if (start_header.binary) length = BITS'(array_pkg::BINARY_TAP_WORDS / PORT);
        if (start_header.reuse) length = BITS'(array_pkg::REUSE_TAP_WORDS / PORT);
        if (head) length = BITS'(array_pkg::BLOCK_WORDS / PORT);
        complete = filled + 1'b1 == length;
        whole = record;
        for (int i = 0; i < BEATS; i++) if (filled == BITS'(i)) whole[64*PORT*i+:64*PORT] = beat;
    end

    // A record enters every queue that it is for in one cycle.
    logic fits;
    assign taps  = block_header.taps;
    assign fits  = head ? block_ready && (!block_header.emit || emit_ready == '1)
        : tap_ready && (tap_header.reuse || weights_ready);
    assign goes  = left != 0 && beat_valid && (!complete || fits);
    assign beat_ready    = left != 0 && (!complete || fits);
    assign block_valid   = goes && complete && head;
    assign emit_valid    = block_valid && block_header.emit;
    assign tap_valid     = goes && complete && !head;
    assign weights_valid = tap_valid && !tap_header.reuse;
    assign job_ready     = left == 0;

    assign tap.base    = tap_header.base;
    assign tap.pattern = tap_header.pattern;
    assign tap.reuse   = tap_header.reuse;
    assign tap.first   = first;
    assign tap.last    = taps_left == 16'd1;

    assign block_bias  = whole[64+:32*OC];
    assign block_entry = ENTRY_BITS'(block_header.slot * beats);
    assign block_init  = block_header.init;
    assign block_emit  = block_header.emit;
    assign emit.out_group = block_header.out_group;
    assign emit.groups    = block_header.groups;
    assign multipliers    = whole[64+32*OC+:16*OC];

    logic [7:0] size;
    assign size = 8'd1 << tap_header.shift;
    always_comb begin
        for (int n = 0; n < IC * OC; n++) begin
            weights[8*n+:8] = whole[64+8*n+:8];
            if (tap_header.binary) begin
                weights[8*n+:8] = !tap_header.lanes[n%IC] ? 8'd0 : whole[64+n] ? size : -size;
            end
        end
    end

    always_ff @(posedge clk) begin
        if (job_valid && job_ready) begin
            left  <= job.words / PORT;
            beats <= job.beats;
        end
        if (goes) begin
            left   <= left - 1'b1;
            record <= whole;
            filled <= complete ? '0 : filled + 1'b1;
            if (complete) begin
                taps_left <= head ? taps : taps_left - 1'b1;
                first     <= head;
            end
        end
        if (rst) begin
            left      <= '0;
            filled    <= '0;
            taps_left <= '0;
        end
    end
endmodule
