// One DSP48: P = A * B + (C or the DSP before), with its registers A, B, M and P; B and C hold until they are loaded.
//
// A is signed of 25 bits (27 in a DSP48E2), B of 18. Four of them in a row keep their sums within the cascade wires.
module multiply_add #(
    parameter int A_BITS = 25,
    parameter int B_BITS = 8,
    parameter bit FIRST = 1'b1
) (
    input  logic                     clk,
    input  logic signed [A_BITS-1:0] a,
    input  logic                     load_b,
    input  logic signed [B_BITS-1:0] b,
    input  logic                     load_c,
    input  logic signed [      47:0] c,
    input  logic signed [      47:0] cascade,
    output logic signed [      47:0] passed, // to the next one's `cascade`
    output logic signed [      47:0] p
);
    logic signed [A_BITS-1:0] a_held;
    logic signed [B_BITS-1:0] b_held;
    logic signed [A_BITS+B_BITS-1:0] product;

    assign passed = p;
    always_ff @(posedge clk) begin
        a_held <= a;
        if (load_b) b_held <= b;
        product <= a_held * b_held;
    end

    generate
        if (FIRST) begin : g_first
            logic signed [47:0] c_held;
            always_ff @(posedge clk) begin
                if (load_c) c_held <= c;
                p <= 48'(product) + c_held;
            end
        end else begin : g_chained
            always_ff @(posedge clk) p <= 48'(product) + cascade;
        end
    endgenerate
endmodule
