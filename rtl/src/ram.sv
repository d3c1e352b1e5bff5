// Block RAM with a port for writing and one for reading. Reading a word in the cycle in which it is written gives the
// old one or the new one; nothing here does it.
module ram #(
    parameter int WIDTH = 64,
    parameter int DEPTH = 512,
    localparam int BITS = $clog2(DEPTH)
) (
    input  logic             clk,
    input  logic             write,
    input  logic [ BITS-1:0] write_address,
    input  logic [WIDTH-1:0] write_data,
    input  logic             read,
    input  logic [ BITS-1:0] read_address,
    output logic [WIDTH-1:0] read_data
);
    (* ram_style = "block" *) logic [WIDTH-1:0] words[DEPTH];

    always_ff @(posedge clk) begin
        if (write) words[write_address] <= write_data;
        if (read) read_data <= words[read_address];
    end
endmodule
