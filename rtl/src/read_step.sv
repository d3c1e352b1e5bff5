// Process: reads a step's descriptor and its planes' addresses, hands each process its job, and brings a new layer's
// lane patterns and lookup table along. The next descriptor is asked for while this step's jobs are made.
//
// The order matters where a table is longer than its queue: patterns wait for the array to begin the step, which it
// does when the tile is in its banks; so the planes come first, and all jobs are out by then.
module read_step (
    input  logic                     clk,
    input  logic                     rst,
    input  logic                     start,
    input  logic [             31:0] layer_table,
    input  logic [             31:0] step_count,
    input  logic [             31:0] counters,
    output logic                     request_valid,
    input  logic                     request_ready,
    output jobs_pkg::request_t       request,
    input  logic                     word_valid,
    output logic                     word_ready,
    input  logic [             63:0] word,
    output logic [             10:0] jobs_valid, // in the order of the jobs below
    input  logic [             10:0] jobs_ready,
    output logic [              7:0] hold_job,
    output jobs_pkg::fetch_t         fetch_job,
    output jobs_pkg::fill_t          fill_job,
    output jobs_pkg::weight_t        weight_job,
    output jobs_pkg::assemble_t      assemble_job,
    output jobs_pkg::accumulate_t    accumulate_job,
    output jobs_pkg::requantise_t    requantise_job,
    output jobs_pkg::residual_t      residual_job,
    output jobs_pkg::combine_t       combine_job,
    output jobs_pkg::store_t         store_job,
    output jobs_pkg::collect_t       collect_job,
    output logic                     plane_valid,
    input  logic                     plane_ready,
    output logic                     pattern_valid,
    input  logic                     pattern_ready,
    output logic                     table_before_valid,
    input  logic                     table_before_ready,
    output logic                     table_after_valid,
    input  logic                     table_after_ready,
    output logic [             63:0] passed // what the four take
);
    localparam int TABLE_WORDS = 32;

    typedef enum logic [3:0] {IDLE, LAYER, STEP, ASK_PLANES, ASK_PATTERNS, ASK_TABLE, ASK_NEXT, MULTIPLY, JOBS, PLANES,
        PATTERNS, LOOKUP} state_t;
    state_t state;

    isa_pkg::layer_t layer;
    isa_pkg::step_t step;
    logic [31:0] layer_address, step_address, counters_address;
    logic [31:0] steps_left; // of the run, this one included
    logic [15:0] layer_steps_left; // of the layer, this one included
    logic first, last;
    logic [31:0] words_left;

    assign last = layer_steps_left == 16'd1;

    // The part of the tile that lies inside the image, in image coordinates.
    logic signed [17:0] top, left, bottom, right;
    function automatic logic signed [17:0] clipped(input logic signed [17:0] v, input logic signed [17:0] low,
                                                  input logic signed [17:0] high);
        logic signed [17:0] cut;
        cut = v > high ? high : v;
        clipped = cut < low ? low : cut;
    endfunction

    // One multiplier makes all products, one looks_after the other; a result is there two cycles looks_after its operands.
    localparam int PRODUCTS = 10;
    localparam int LAST_PRODUCT = PRODUCTS + 1;
    logic [3:0] number;
    logic [23:0] a;
    logic [15:0] b;
    logic [31:0] product;
    logic [31:0] tile_cells, area, start_in, pixels, row_step, out_pitch, all_cells, start_out, indent_out;
    always_ff @(posedge clk) begin
        case (number)
            4'd0:    begin a <= 24'(step.rows);              b <= step.cols; end
            4'd1:    begin a <= 24'(unsigned'(bottom - top)); b <= 16'(right - left); end
            4'd2:    begin a <= 24'(unsigned'(top));         b <= layer.in_pitch; end
            4'd3:    begin a <= 24'(step.tile_height);       b <= step.tile_width; end
            4'd4:    begin a <= 24'(layer.pitch);            b <= 16'(layer.stride_y); end
            4'd5:    begin a <= 24'(layer.out_pitch);        b <= 16'(layer.out_step_y); end
            4'd6:    begin a <= tile_cells[23:0];            b <= step.groups; end
            4'd7:    begin a <= 24'(step.ox0);               b <= 16'(layer.out_step_x); end
            default: begin a <= out_pitch[23:0];             b <= step.oy0; end
        endcase
        product <= 32'(a * 40'(b));
        case (number)
            4'd2:    tile_cells <= product;
            4'd3:    area <= product;
            4'd4:    start_in <= product;
            4'd5:    pixels <= product;
            4'd6:    row_step <= product;
            4'd7:    out_pitch <= product;
            4'd8:    all_cells <= product;
            4'd9:    indent_out <= product;
            default: start_out <= product;
        endcase
        // Registers of their own: they are the inputs of products.
        top    <= clipped(18'(step.y0), 18'sd0, 18'sh1ffff);
        left   <= clipped(18'(step.x0), 18'sd0, 18'sh1ffff);
        bottom <= clipped(18'(step.y0) + signed'({2'b00, step.rows}), top, signed'({2'b00, layer.in_height}));
        right  <= clipped(18'(step.x0) + signed'({2'b00, step.cols}), left, signed'({2'b00, layer.in_width}));
    end

    // A sum, for a product with 6 words of a pattern would be one more DSP.
    logic [31:0] pattern_length;
    always_comb begin
        pattern_length = '0;
        for (int i = 0; i < array_pkg::PATTERN_WORDS; i++) pattern_length = pattern_length + 32'(layer.pattern_count);
    end

    logic looks_before, looks_after, broadcast, whole_in, whole_out;
    assign looks_before    = layer.lookup == isa_pkg::LOOKUP_BEFORE;
    assign looks_after     = layer.lookup == isa_pkg::LOOKUP_AFTER;
    assign broadcast = layer.broadcast;
    assign whole_in  = 16'(right - left) == layer.in_pitch;
    assign whole_out = 32'(step.tile_width) == out_pitch && layer.out_step_x == 4'd1;

    jobs_pkg::bursts_t out;
    always_comb begin
        out.offset = start_out + indent_out;
        out.runs   = pixels == 0 ? 16'd0 : whole_out ? 16'd1 : step.tile_height;
        out.length = whole_out ? pixels[15:0] : step.tile_width;
        out.pitch  = out_pitch;
    end

    always_comb begin
        hold_job = step.depends;

        fetch_job.bursts.offset = start_in + 32'(unsigned'(left));
        fetch_job.bursts.runs   = area == 0 ? 16'd0 : whole_in ? 16'd1 : 16'(bottom - top);
        fetch_job.bursts.length = whole_in ? area[15:0] : 16'(right - left);
        fetch_job.bursts.pitch  = 32'(layer.in_pitch);
        fetch_job.groups        = step.groups;

        fill_job.lane_select      = {layer.lane_select_1, layer.lane_select_0};
        fill_job.cells            = all_cells;
        fill_job.rows             = step.rows;
        fill_job.cols             = step.cols;
        fill_job.row_begin        = 16'(top - 18'(step.y0));
        fill_job.row_end          = 16'(bottom - 18'(step.y0));
        fill_job.col_begin        = 16'(left - 18'(step.x0));
        fill_job.col_end          = 16'(right - 18'(step.x0));
        fill_job.pitch            = layer.pitch;
        fill_job.chunk_cells      = layer.chunk_cells;
        fill_job.groups           = step.groups;
        fill_job.groups_per_chunk = layer.groups_per_chunk;
        fill_job.pad_value        = layer.pad_value;

        weight_job.address = step.weights;
        weight_job.words   = step.weight_words;

        assemble_job.words = step.weight_words;
        assemble_job.beats = step.beats;

        accumulate_job.iterations    = step.iterations;
        accumulate_job.taps          = step.taps;
        accumulate_job.beats         = step.beats;
        accumulate_job.pixels        = pixels;
        accumulate_job.tile_width    = step.tile_width;
        accumulate_job.stride_x      = layer.stride_x;
        accumulate_job.row_step      = row_step;
        accumulate_job.pattern_count = first ? layer.pattern_count : 8'd0;
        accumulate_job.max           = layer.mode == isa_pkg::MODE_MAX;

        requantise_job.pixels      = pixels;
        requantise_job.emit_blocks = step.emit_blocks;
        requantise_job.max         = layer.mode == isa_pkg::MODE_MAX;
        requantise_job.relu        = layer.relu_before;
        requantise_job.look_up     = looks_before;
        requantise_job.new_table   = first && looks_before;

        residual_job.bursts         = out;
        residual_job.residual_table = layer.residual_table;
        residual_job.emit_blocks    = step.emit_blocks;
        residual_job.pixel_step     = layer.out_step_x;
        residual_job.used           = layer.combine != isa_pkg::COMBINE_NONE;
        if (broadcast) begin
            residual_job.bursts.offset = 32'd0;
            residual_job.bursts.runs   = pixels == 0 ? 16'd0 : 16'd1;
            residual_job.bursts.length = 16'd1;
            residual_job.pixel_step    = 4'd1;
        end

        combine_job.pixels      = pixels;
        combine_job.emit_blocks = step.emit_blocks;
        combine_job.combine     = layer.combine;
        combine_job.shift_a     = layer.shift_a;
        combine_job.shift_b     = layer.shift_b;
        combine_job.shift_y     = layer.shift_y;
        combine_job.subtract    = layer.subtract;
        combine_job.broadcast   = broadcast;
        combine_job.relu        = layer.relu_after;
        combine_job.look_up     = looks_after;
        combine_job.new_table   = first && looks_after;

        store_job.bursts      = out;
        store_job.out_base    = layer.out_base;
        store_job.out_plane   = layer.out_plane;
        store_job.emit_blocks = step.emit_blocks;
        store_job.pixel_step  = layer.out_step_x;
        store_job.on_chip     = layer.out_base[isa_pkg::ON_CHIP_BIT];
        store_job.first       = first;
        store_job.last        = last;
        store_job.counters    = counters_address;

        collect_job.first = first;
        collect_job.last  = last;
    end

    // What is asked for.
    always_comb begin
        request.done = 1'b0;
        case (state)
            ASK_PLANES: begin
                request.address = layer.group_table + 32'(step.first_group);
                request.length  = 32'(step.groups);
            end
            ASK_PATTERNS: begin
                request.address = layer.pattern_table;
                request.length  = pattern_length;
            end
            ASK_TABLE: begin
                request.address = layer.lookup_table;
                request.length  = TABLE_WORDS;
            end
            ASK_NEXT: begin // the next step's descriptor, or the next layer's
                request.address = last ? layer_address : step_address;
                request.length  = last ? isa_pkg::LAYER_WORDS : isa_pkg::STEP_WORDS;
            end
            LAYER: begin // all its words are here: its first step's descriptor
                request.address = layer.step_table;
                request.length  = isa_pkg::STEP_WORDS;
            end
            default: begin // IDLE: the first layer's descriptor
                request.address = layer_table;
                request.length  = isa_pkg::LAYER_WORDS;
            end
        endcase
    end

    logic starting;
    assign request_valid = state == ASK_PLANES || state == ASK_PATTERNS || state == ASK_TABLE || (state == ASK_NEXT && steps_left != 1)
        || (state == LAYER && words_left == 0) || (state == IDLE && starting);
    assign passed             = word;
    assign plane_valid        = state == PLANES && words_left != 0 && word_valid;
    assign pattern_valid      = state == PATTERNS && words_left != 0 && word_valid;
    assign table_before_valid = state == LOOKUP && looks_before && words_left != 0 && word_valid;
    assign table_after_valid  = state == LOOKUP && looks_after && words_left != 0 && word_valid;

    always_comb begin
        case (state)
            LAYER, STEP: word_ready = words_left != 0;
            PLANES:      word_ready = words_left != 0 && plane_ready;
            PATTERNS:    word_ready = words_left != 0 && pattern_ready;
            LOOKUP:      word_ready = words_left != 0 && (looks_before ? table_before_ready : table_after_ready);
            default:     word_ready = 1'b0;
        endcase
    end

    always_ff @(posedge clk) begin
        if (word_valid && word_ready) words_left <= words_left - 1'b1;
        case (state)
            IDLE: begin
                if (start && step_count != 0) begin
                    starting         <= 1'b1;
                    layer_address    <= layer_table;
                    counters_address <= counters;
                    steps_left       <= step_count;
                end
                if (starting && request_ready) begin
                    starting      <= 1'b0;
                    layer_address <= layer_address + isa_pkg::LAYER_WORDS;
                    words_left    <= isa_pkg::LAYER_WORDS;
                    state         <= LAYER;
                end
            end
            LAYER: begin
                if (word_valid && word_ready) layer <= {word, layer[64*isa_pkg::LAYER_WORDS-1:64]};
                if (words_left == 0 && request_ready) begin
                    first            <= 1'b1;
                    layer_steps_left <= layer.step_count;
                    step_address     <= layer.step_table + isa_pkg::STEP_WORDS;
                    words_left       <= isa_pkg::STEP_WORDS;
                    state            <= STEP;
                end
            end
            STEP: begin
                if (word_valid && word_ready) step <= {word, step[64*isa_pkg::STEP_WORDS-1:64]};
                if (words_left == 0) state <= ASK_PLANES;
            end
            ASK_PLANES: if (request_ready) state <= first && layer.pattern_count != 0 ? ASK_PATTERNS
                : first && (looks_before || looks_after) ? ASK_TABLE : ASK_NEXT;
            ASK_PATTERNS: if (request_ready) state <= looks_before || looks_after ? ASK_TABLE : ASK_NEXT;
            ASK_TABLE: if (request_ready) state <= ASK_NEXT;
            ASK_NEXT: begin
                number <= '0;
                // After the last step nothing is asked for: the request's queue is not told.
                if (request_ready || steps_left == 1) begin
                    if (last) layer_address <= layer_address + isa_pkg::LAYER_WORDS;
                    else step_address <= step_address + isa_pkg::STEP_WORDS;
                    state <= MULTIPLY;
                end
            end
            MULTIPLY: begin
                number <= number + 1'b1;
                if (number == LAST_PRODUCT[3:0]) begin
                    jobs_valid <= '1;
                    state      <= JOBS;
                end
            end
            JOBS: begin
                jobs_valid <= jobs_valid & ~jobs_ready;
                words_left <= 32'(step.groups);
                if ((jobs_valid & ~jobs_ready) == 0) state <= PLANES;
            end
            PLANES: if (words_left == 0) begin
                words_left <= pattern_length;
                state      <= PATTERNS;
                if (!first) words_left <= '0;
            end
            PATTERNS: if (words_left == 0) begin
                words_left <= first && (looks_before || looks_after) ? TABLE_WORDS : 32'd0;
                state      <= LOOKUP;
            end
            LOOKUP: if (words_left == 0) begin
                first            <= 1'b0;
                steps_left       <= steps_left - 1'b1;
                layer_steps_left <= layer_steps_left - 1'b1;
                if (steps_left == 1) begin
                    state <= IDLE;
                end else if (last) begin
                    counters_address <= counters_address + isa_pkg::COUNTERS_WORDS;
                    words_left       <= isa_pkg::LAYER_WORDS;
                    state            <= LAYER;
                end else begin
                    words_left <= isa_pkg::STEP_WORDS;
                    state      <= STEP;
                end
            end
            default: state <= IDLE;
        endcase
        if (rst) begin
            state      <= IDLE;
            starting   <= 1'b0;
            jobs_valid <= '0;
            words_left <= '0;
        end
    end
endmodule
