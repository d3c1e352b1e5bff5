// Process: writes the tile into the lane banks, one position of one group per cycle, padding included.
module fill_banks (
    input  logic            clk,
    input  logic            rst,
    input  logic            job_valid,
    output logic            job_ready,
    input  jobs_pkg::fill_t job,
    input  logic            word_valid,
    output logic            word_ready,
    input  logic [63:0]     word,
    input  logic            bank_free, // the half that is filled next
    output logic            bank_filled, // for one cycle, when the last write is done
    output logic [array_pkg::IC_GROUPS-1:0] write, // by parts of the lanes
    output logic [$clog2(array_pkg::BANK_DEPTH)-1:0] address,
    output logic [8*array_pkg::IC-1:0] codes
);
    localparam int BITS = $clog2(array_pkg::BANK_DEPTH);
    localparam int PARTS = array_pkg::IC_GROUPS;

    typedef enum logic [1:0] {TAKE, FREE, FILL, FILLED} state_t;
    state_t state;
    jobs_pkg::fill_t now;
    logic [31:0] left;
    logic [15:0] row, col, groups_left;
    logic [BITS-1:0] chunk_start, row_start;
    logic [3:0] unit, units; // group within the chunk, groups of the chunk

    logic in_image, steps;
    assign in_image = row >= now.row_begin && row < now.row_end && col >= now.col_begin && col < now.col_end;
    assign job_ready  = state == TAKE;
    assign word_ready = state == FILL && in_image;
    assign steps      = state == FILL && (!in_image || word_valid);

    // In a chunk of n groups, part j of the lanes holds group j mod n.
    function automatic logic [PARTS-1:0] holds(input logic [3:0] n, input logic [3:0] u);
        logic [3:0] which;
        which = '0;
        for (int j = 0; j < PARTS; j++) begin
            holds[j] = which == u;
            which = which + 1'b1 == n ? 4'd0 : which + 1'b1;
        end
    endfunction

    function automatic logic [3:0] share(input logic [3:0] most, input logic [15:0] there);
        share = there < 16'(most) ? there[3:0] : most;
    endfunction

    logic [63:0] stored;
    assign stored = in_image ? word : {8{now.pad_value}};

    always_ff @(posedge clk) begin
        write <= steps ? holds(units, unit) : '0;
        address <= chunk_start + row_start + BITS'(col);
        for (int l = 0; l < array_pkg::IC; l++) codes[8*l+:8] <= stored[8*now.lane_select[3*l+:3]+:8];
        bank_filled <= 1'b0;
        case (state)
            TAKE: begin
                now         <= job;
                left        <= job.cells;
                groups_left <= job.groups;
                row         <= '0;
                col         <= '0;
                chunk_start <= '0;
                row_start   <= '0;
                unit        <= '0;
                units       <= share(job.groups_per_chunk, job.groups);
                if (job_valid) state <= FREE;
            end
            FREE: if (bank_free) state <= left == 0 ? FILLED : FILL;
            FILL: if (steps) begin
                left <= left - 1'b1;
                col  <= col + 1'b1;
                if (col + 1'b1 == now.cols) begin
                    col       <= '0;
                    row       <= row + 1'b1;
                    row_start <= row_start + now.pitch[BITS-1:0];
                    if (row + 1'b1 == now.rows) begin
                        row         <= '0;
                        row_start   <= '0;
                        unit        <= unit + 1'b1;
                        groups_left <= groups_left - 1'b1;
                        if (unit + 1'b1 == units) begin
                            unit        <= '0;
                            chunk_start <= chunk_start + now.chunk_cells[BITS-1:0];
                            units       <= share(now.groups_per_chunk, groups_left - 1'b1);
                        end
                    end
                end
                if (left == 1) state <= FILLED;
            end
            default: begin // the write that is under way ends with this cycle
                bank_filled <= 1'b1;
                state       <= TAKE;
            end
        endcase
        if (rst) begin
            state       <= TAKE;
            write       <= '0;
            bank_filled <= 1'b0;
        end
    end
endmodule
