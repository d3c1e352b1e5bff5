// The multipliers: two pixels share a DSP and a weight, and DSPs are chained.
//
// A DSP multiplies {x1, zeros, x0 with its sign bit inverted} = x1 * 2^SHIFT + (x0 + 128) by w. A chain starts from
// -128 * (sum of its weights), so that its end is exactly (sum of x1 * w) * 2^SHIFT + (sum of x0 * w). The link k of a
// chain works k cycles after the first, on codes that were delayed so long; its weight is loaded as much later.
module dot #(
    parameter int LATENCY = 4 + array_pkg::DSP_CHAIN // from the codes to the sums, in cycles
) (
    input  logic clk,
    input  logic load, // with the codes of the first beat that the weights are for
    // Must stay for as many cycles as a chain has links.
    input  logic [8*array_pkg::IC*array_pkg::OC-1:0] weights,
    input  logic [8*array_pkg::IC-1:0] codes_0,
    input  logic [8*array_pkg::IC-1:0] codes_1,
    output logic [32*array_pkg::OC-1:0] sums_0,
    output logic [32*array_pkg::OC-1:0] sums_1
);
    localparam int IC = array_pkg::IC;
    localparam int OC = array_pkg::OC;
    localparam int LINKS = array_pkg::DSP_CHAIN;
    localparam int CHAINS = IC / LINKS;
    localparam int SHIFT = array_pkg::DSP_SHIFT;
    localparam int WIDE = array_pkg::DSP_PORT_BITS;

    logic [LINKS:1] loaded;
    logic [LINKS:0] loads; // by links
    assign loads = {loaded, load};
    always_ff @(posedge clk) loaded <= loads[LINKS-1:0];

    generate
        // The codes as the links see them.
        logic [WIDE*IC-1:0] packed_codes;
        for (genvar l = 0; l < IC; l++) begin : g_lane
            logic [15:0] late;
            delay #(.WIDTH(16), .CYCLES(l % LINKS)) skew (
                .clk, .in_data({codes_1[8*l+:8], codes_0[8*l+:8]}), .out_data(late)
            );
            assign packed_codes[WIDE*l+:WIDE] = WIDE'(signed'({late[15:8], {(SHIFT - 8){1'b0}}, ~late[7], late[6:0]}));
        end

        for (genvar o = 0; o < OC; o++) begin : g_output
            logic signed [20:0] low[CHAINS];
            logic signed [20:0] high[CHAINS];
            for (genvar c = 0; c < CHAINS; c++) begin : g_chain
                logic signed [47:0] p[LINKS];
                logic signed [47:0] passed[LINKS];
                logic signed [10:0] total, start; // of the chain's weights
                always_comb begin
                    total = '0;
                    for (int k = 0; k < LINKS; k++) begin
                        total = total + 11'(signed'(weights[8*(o*IC+c*LINKS+k)+:8]));
                    end
                end
                always_ff @(posedge clk) start <= -total;
                for (genvar k = 0; k < LINKS; k++) begin : g_link
                    multiply_add #(.A_BITS(WIDE), .B_BITS(8), .FIRST(k == 0)) link (
                        .clk, .a(packed_codes[WIDE*(c*LINKS+k)+:WIDE]),
                        .load_b(loads[k]), .b(weights[8*(o*IC+c*LINKS+k)+:8]),
                        .load_c(loads[1]), .c(48'(start) <<< 7), .cascade(k == 0 ? 48'sd0 : passed[k == 0 ? 0 : k-1]),
                        .passed(passed[k]), .p(p[k])
                    );
                end
                // The low field has a sign of its own, which it took from the high one.
                always_ff @(posedge clk) begin
                    low[c]  <= 21'(signed'(p[LINKS-1][SHIFT-1:0]));
                    high[c] <= 21'(signed'(p[LINKS-1][47:SHIFT])) + 21'(p[LINKS-1][SHIFT-1]);
                end
            end
            logic signed [31:0] sum_low, sum_high;
            always_comb begin
                sum_low  = '0;
                sum_high = '0;
                for (int c = 0; c < CHAINS; c++) begin
                    sum_low  = sum_low + 32'(low[c]);
                    sum_high = sum_high + 32'(high[c]);
                end
            end
            always_ff @(posedge clk) begin
                sums_0[32*o+:32] <= sum_low;
                sums_1[32*o+:32] <= sum_high;
            end
        end
    endgenerate
endmodule
