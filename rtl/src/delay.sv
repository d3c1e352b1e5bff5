// CYCLES registers one after the other, which become shift registers: nothing is reset.
module delay #(
    parameter int WIDTH = 1,
    parameter int CYCLES = 1
) (
    input  logic             clk,
    input  logic [WIDTH-1:0] in_data,
    output logic [WIDTH-1:0] out_data
);
    generate
        if (CYCLES == 0) begin : g_wire
            assign out_data = in_data;
        end else begin : g_registers
            logic [WIDTH-1:0] stage[CYCLES];
            always_ff @(posedge clk) begin
                stage[0] <= in_data;
                for (int i = 1; i < CYCLES; i++) stage[i] <= stage[i-1];
            end
            assign out_data = stage[CYCLES-1];
        end
    endgenerate
endmodule
