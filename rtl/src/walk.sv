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
    typedef struct packed {
        logic [15:0] column;
        logic [BITS-1:0] row_start;
        logic [BITS-1:0] start;
    } place_t;
    place_t first, second, third, origin;
    logic [31:0] left; // pixels from the first one on

    function automatic place_t following(input place_t place, input logic [15:0] width, input logic [7:0] stride,
                                         input logic [BITS-1:0] row);
        following.column    = place.column + 1'b1;
        following.row_start = place.row_start;
        following.start     = place.start + BITS'(stride);
        if (place.column + 1'b1 == width) begin
            following.column    = '0;
            following.row_start = place.row_start + row;
            following.start     = place.row_start + row;
        end
    endfunction

    assign origin  = '0;
    assign second  = following(first, tile_width, stride_x, row_step);
    assign third   = following(second, tile_width, stride_x, row_step);
    assign start_0 = left == 0 ? '0 : first.start;
    assign start_1 = left <= 32'd1 ? '0 : second.start;

    always_ff @(posedge clk) begin
        if (advance) begin
            first <= third;
            left  <= left <= 32'd2 ? 32'd0 : left - 32'd2;
        end
        if (restart) begin
            first <= origin;
            left  <= pixels;
        end
    end
endmodule
