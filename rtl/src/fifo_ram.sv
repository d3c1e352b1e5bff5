// A long queue in block RAM; its output is the RAM's own register, so a word is seen two cycles after it entered.
module fifo_ram #(
    parameter int WIDTH = 64,
    parameter int DEPTH = 512
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             in_valid,
    output logic             in_ready,
    input  logic [WIDTH-1:0] in_data,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_data
);
    localparam int BITS = $clog2(DEPTH);
    localparam int COUNT = BITS + 1;

    logic [COUNT-1:0] used; // words in the RAM that were not read
    logic [BITS-1:0] head, tail;
    logic enters, reads;

    assign in_ready = used != COUNT'(DEPTH);
    assign enters   = in_valid && in_ready;
    assign reads    = used != '0 && (!out_valid || out_ready);

    ram #(.WIDTH(WIDTH), .DEPTH(DEPTH)) words (
        .clk, .write(enters), .write_address(tail), .write_data(in_data),
        .read(reads), .read_address(head), .read_data(out_data)
    );

    always_ff @(posedge clk) begin
        if (rst) begin
            used      <= '0;
            head      <= '0;
            tail      <= '0;
            out_valid <= 1'b0;
        end else begin
            if (enters) tail <= tail + 1'b1;
            if (reads) head <= head + 1'b1;
            if (reads) out_valid <= 1'b1;
            else if (out_ready) out_valid <= 1'b0;
            if (enters && !reads) used <= used + 1'b1;
            if (reads && !enters) used <= used - 1'b1;
        end
    end
endmodule
