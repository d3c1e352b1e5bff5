// The layer's table of codes, with a copy for every byte of a word: each may be replaced in each cycle. A table comes as
// 32 words; the entry of code q is number q mod 256. The codes leave a cycle later.
module lookup (
    input  logic        clk,
    input  logic        rst,
    input  logic        receives,
    input  logic        word_valid,
    output logic        word_ready,
    input  logic [63:0] word,
    output logic        received, // the whole table
    input  logic        used,
    input  logic [63:0] codes,
    output logic [63:0] replaced
);
    logic [5:0] number;
    assign received   = number[5];
    assign word_ready = receives && !received;
    always_ff @(posedge clk) begin
        if (word_valid && word_ready) number <= number + 1'b1;
        if (rst || !receives) number <= '0;
    end

    generate
        for (genvar k = 0; k < 8; k++) begin : g_copy
            (* ram_style = "distributed" *) logic [63:0] entries[32];
            logic [63:0] row;
            assign row = entries[codes[8*k+3+:5]];
            always_ff @(posedge clk) begin
                if (word_valid && word_ready) entries[number[4:0]] <= word;
                replaced[8*k+:8] <= used ? row[8*codes[8*k+:3]+:8] : codes[8*k+:8];
            end
        end
    endgenerate
endmodule
