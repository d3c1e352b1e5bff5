// Process: writes the output words, to memory or to the engine's own, and after a layer's last step the layer's counters.
// A step ends with a request that says `done`, behind all of its others.
module store (
    input  logic               clk,
    input  logic               rst,
    input  logic               start, // of a run
    input  logic [31:0]        clock,
    input  logic               job_valid,
    output logic               job_ready,
    input  jobs_pkg::store_t   job,
    input  logic               emit_valid,
    output logic               emit_ready,
    input  jobs_pkg::emit_t    emit,
    input  logic               word_valid,
    output logic               word_ready,
    input  logic [63:0]        word,
    input  logic               totals_valid,
    output logic               totals_ready,
    input  jobs_pkg::totals_t  totals,
    output logic               request_valid,
    input  logic               request_ready,
    output jobs_pkg::request_t request,
    output logic               data_valid,
    input  logic               data_ready,
    output logic [63:0]        data,
    output logic               scratch_write,
    output logic [$clog2(array_pkg::SCRATCH_WORDS)-1:0] scratch_address,
    output logic [63:0]        scratch_word
);
    localparam int SCRATCH_BITS = $clog2(array_pkg::SCRATCH_WORDS);

    typedef enum logic [2:0] {TAKE, BLOCK, PLANE, GROUP, WORDS, TOTALS, COUNTERS, DONE} state_t;
    state_t state;
    jobs_pkg::store_t now;
    logic [15:0] blocks_left, runs_left, words_left;
    logic [3:0] groups_left;
    logic [31:0] plane, row, address, offset;
    logic [31:0] stored; // words of this layer
    logic [31:0] last_write; // of the layer before, by the clock
    logic asked; // for the row in hand
    logic single, moves, row_ends;

    assign single     = now.pixel_step != 4'd1;
    assign job_ready  = state == TAKE;
    assign emit_ready = state == BLOCK && blocks_left != 0;

    isa_pkg::counters_t counts;
    logic [63:0] count_word;
    always_comb begin
        counts.cycles          = clock - last_write;
        counts.accumulate_span = totals.accumulated.span;
        counts.iterations      = totals.accumulated.iterations;
        counts.taps            = totals.accumulated.taps;
        counts.fetch_words     = totals.fetch_words;
        counts.weight_words    = totals.weight_words;
        counts.residual_words  = totals.residual_words;
        counts.store_words     = stored;
        case (words_left)
            16'd4:   count_word = counts[63:0];
            16'd3:   count_word = counts[127:64];
            16'd2:   count_word = counts[191:128];
            default: count_word = counts[255:192];
        endcase
    end

    // A row's request goes with its first word, or before; single words have a request each.
    logic may_ask;
    assign may_ask  = now.on_chip || asked || request_ready;
    assign moves    = state == WORDS && words_left != 0 && word_valid && may_ask && (now.on_chip || data_ready);
    assign row_ends = moves && words_left == 1;
    assign word_ready = state == WORDS && words_left != 0 && may_ask && (now.on_chip || data_ready);

    assign request.done = state == DONE;
    always_comb begin
        request.address = address;
        request.length  = single ? 32'd1 : 32'(words_left);
        request_valid   = state == WORDS && words_left != 0 && !now.on_chip && !asked && word_valid && data_ready;
        if (state == COUNTERS) begin
            request.address = now.counters;
            request.length  = isa_pkg::COUNTERS_WORDS;
            request_valid   = !asked && data_ready;
        end
        if (state == DONE) begin
            request.length = '0;
            request_valid  = 1'b1;
        end
    end

    logic counter_moves;
    assign counter_moves = state == COUNTERS && data_ready && (asked || request_ready);
    assign data_valid    = (moves && !now.on_chip) || counter_moves;
    assign data          = state == COUNTERS ? count_word : word;
    assign totals_ready  = counter_moves && words_left == 1;

    assign scratch_write   = moves && now.on_chip;
    assign scratch_address = address[SCRATCH_BITS-1:0];
    assign scratch_word    = word;

    always_ff @(posedge clk) begin
        case (state)
            TAKE: begin
                now         <= job;
                blocks_left <= job.emit_blocks;
                if (job_valid) begin
                    if (job.first) stored <= '0;
                    state <= BLOCK;
                end
            end
            BLOCK: begin
                groups_left <= emit.groups;
                offset      <= emit.out_group * now.out_plane;
                plane       <= {1'b0, now.out_base[30:0]} + now.bursts.offset;
                if (blocks_left == 0) state <= now.last ? TOTALS : DONE;
                else if (emit_valid) begin
                    blocks_left <= blocks_left - 1'b1;
                    state       <= PLANE;
                end
            end
            PLANE: begin
                plane <= plane + offset;
                state <= GROUP;
            end
            GROUP: begin
                runs_left  <= now.bursts.runs;
                words_left <= now.bursts.length;
                row        <= plane;
                address    <= plane;
                asked      <= 1'b0;
                if (groups_left == 0) state <= BLOCK;
                else begin
                    groups_left <= groups_left - 1'b1;
                    plane       <= plane + now.out_plane;
                    state       <= WORDS;
                end
            end
            WORDS: begin
                if (moves) begin
                    stored     <= stored + 1'b1;
                    words_left <= words_left - 1'b1;
                    asked      <= !single;
                    address    <= address + 32'(now.pixel_step);
                end
                if (row_ends) begin
                    words_left <= now.bursts.length;
                    runs_left  <= runs_left - 1'b1;
                    row        <= row + now.bursts.pitch;
                    address    <= row + now.bursts.pitch;
                    asked      <= 1'b0;
                end
                if (runs_left == 0 || (row_ends && runs_left == 1)) state <= GROUP;
            end
            TOTALS: begin
                words_left <= 16'(isa_pkg::COUNTERS_WORDS);
                asked      <= 1'b0;
                if (totals_valid) state <= COUNTERS;
            end
            COUNTERS: if (counter_moves) begin
                asked      <= 1'b1;
                words_left <= words_left - 1'b1;
                if (words_left == 4) last_write <= clock;
                if (words_left == 1) state <= DONE;
            end
            default: if (request_ready) state <= TAKE;
        endcase
        if (start) last_write <= clock;
        if (rst) state <= TAKE;
    end
endmodule
