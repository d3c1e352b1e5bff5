// Block RAM with two ports: the first writes or reads, the second reads.
module ram_two_ports #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 8192,
    localparam int BITS = $clog2(DEPTH)
) (
    input  logic             clk,
    input  logic             write,
    input  logic [ BITS-1:0] address_a,
    input  logic [WIDTH-1:0] write_data,
    output logic [WIDTH-1:0] read_data_a,
    input  logic [ BITS-1:0] address_b,
    output logic [WIDTH-1:0] read_data_b
);
    (* ram_style = "block" *) logic [WIDTH-1:0] words[DEPTH];

    always_ff @(posedge clk) begin
        if (write) words[address_a] <= write_data;
        else read_data_a <= words[address_a];
    end

    always_ff @(posedge clk) read_data_b <= words[address_b];
endmodule
