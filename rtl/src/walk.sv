// Where in the tile the two output pixels of a beat begin to read, beat after beat in raster order; 0 for pixels past the
// tile's last, which are computed and never stored.
module walk #(
    parameter int BITS = 13
) (
    input  logic            clk,
    input  logic            restart, // at pixel 0, in the next cycle
    input  logic            advance,
    input  logic [31:0]     pixels,
    input  logic [15:0]     tile_width,
    input  logic [7:0]      stride_x,
    input  logic [BITS-1:0] row_step,
    output logic [BITS-1:0] start_0,
    output logic [BITS-1:0] start_1
);
    // Of the beat's first pixel, of its second, and of the next beat's first.
    logic [15:0] column[3];
    logic [BITS-1:0] row_start[3], start[3];
    logic [15:0] column_held;
    logic [BITS-1:0] row_held, start_held;
    logic [31:0] left; // pixels from the first one on

    always_comb begin
        column[0]    = column_held;
        row_start[0] = row_held;
        start[0]     = start_held;
        for (int i = 1; i < 3; i++) begin
            column[i]    = column[i-1] + 1'b1;
            row_start[i] = row_start[i-1];
            start[i]     = start[i-1] + BITS'(stride_x);
            if (column[i] == tile_width) begin
                column[i]    = '0;
                row_start[i] = row_start[i-1] + row_step;
                start[i]     = row_start[i-1] + row_step;
            end
        end
    end
    assign start_0 = left == 0 ? '0 : start[0];
    assign start_1 = left <= 32'd1 ? '0 : start[1];

    always_ff @(posedge clk) begin
        if (advance) begin
            column_held <= column[2];
            row_held    <= row_start[2];
            start_held  <= start[2];
            left        <= left <= 32'd2 ? 32'd0 : left - 32'd2;
        end
        if (restart) begin
            column_held <= '0;
            row_held    <= '0;
            start_held  <= '0;
            left        <= pixels;
        end
    end
endmodule
