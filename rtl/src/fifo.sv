// A small queue, in LUT RAM or registers; a word that enters is seen one cycle later. DEPTH is a power of two.
module fifo #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 4
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

    (* ram_style = "distributed" *) logic [WIDTH-1:0] words[DEPTH];
    logic [COUNT-1:0] used;
    logic [BITS-1:0] head, tail;
    logic enters, leaves;

    assign in_ready  = used != COUNT'(DEPTH);
    assign out_valid = used != '0;
    assign out_data  = words[head];
    assign enters    = in_valid && in_ready;
    assign leaves    = out_valid && out_ready;

    always_ff @(posedge clk) begin
        if (enters) words[tail] <= in_data;
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            used <= '0;
            head <= '0;
            tail <= '0;
        end else begin
            if (enters) tail <= tail + 1'b1;
            if (leaves) head <= head + 1'b1;
            if (enters && !leaves) used <= used + 1'b1;
            if (leaves && !enters) used <= used - 1'b1;
        end
    end

`ifdef VERILATOR
    always_ff @(posedge clk) begin
        if (!rst && used > COUNT'(DEPTH)) $fatal(1, "a queue holds more than it can");
    end
`endif
endmodule
