// `multiply_add` as the DSP48E1 itself, in the place of src/multiply_add.sv: Yosys narrows the sums of a chain and then
// finds no cascade in it, so that each link's sum goes through the fabric to the next one's C.
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
    output logic signed [      47:0] passed,
    output logic signed [      47:0] p
);
    logic signed [29:0] wide_a;
    logic signed [17:0] wide_b;
    assign wide_a = 30'(a);
    assign wide_b = 18'(b);
    generate
        if (FIRST) begin : g_first
            DSP48E1 #(
                .AREG(1), .BREG(1), .CREG(1), .MREG(1), .PREG(1), .ACASCREG(1), .BCASCREG(1), .ADREG(0), .DREG(0),
                .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0),
                .USE_DPORT("FALSE"), .USE_MULT("MULTIPLY")
            ) dsp (
                .CLK(clk), .A(wide_a), .B(wide_b), .C(c), .OPMODE(7'b0110101), .ALUMODE(4'd0), .INMODE(5'd0),
                .CARRYINSEL(3'd0), .CARRYIN(1'b0), .D(25'd0), .CEA1(1'b0), .CEA2(1'b1), .CEB1(1'b0), .CEB2(load_b),
                .CEC(load_c), .CEM(1'b1), .CEP(1'b1), .CED(1'b0), .CEAD(1'b0), .CEALUMODE(1'b0), .CECTRL(1'b0),
                .CECARRYIN(1'b0), .CEINMODE(1'b0), .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTM(1'b0), .RSTP(1'b0),
                .RSTD(1'b0), .RSTALUMODE(1'b0), .RSTCTRL(1'b0), .RSTALLCARRYIN(1'b0), .RSTINMODE(1'b0),
                .P(p), .PCOUT(passed)
            );
        end else begin : g_chained
            DSP48E1 #(
                .AREG(1), .BREG(1), .CREG(1), .MREG(1), .PREG(1), .ACASCREG(1), .BCASCREG(1), .ADREG(0), .DREG(0),
                .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0),
                .USE_DPORT("FALSE"), .USE_MULT("MULTIPLY")
            ) dsp (
                .CLK(clk), .A(wide_a), .B(wide_b), .C(48'd0), .OPMODE(7'b0010101), .ALUMODE(4'd0), .INMODE(5'd0),
                .CARRYINSEL(3'd0), .CARRYIN(1'b0), .D(25'd0), .CEA1(1'b0), .CEA2(1'b1), .CEB1(1'b0), .CEB2(load_b),
                .CEC(1'b0), .CEM(1'b1), .CEP(1'b1), .CED(1'b0), .CEAD(1'b0), .CEALUMODE(1'b0), .CECTRL(1'b0),
                .CECARRYIN(1'b0), .CEINMODE(1'b0), .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTM(1'b0), .RSTP(1'b0),
                .RSTD(1'b0), .RSTALUMODE(1'b0), .RSTCTRL(1'b0), .RSTALLCARRYIN(1'b0), .RSTINMODE(1'b0),
                .PCIN(cascade), .P(p), .PCOUT(passed)
            );
        end
    endgenerate
endmodule
