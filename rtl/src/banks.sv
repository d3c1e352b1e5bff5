// The lane banks, ping and pong: while the array reads one half, two pixels at once, the next tile goes into the other.
module banks (
    input  logic clk,
    input  logic rst,
    output logic free, // the half that is filled next
    input  logic filled, // for one cycle
    input  logic [array_pkg::IC_GROUPS-1:0] write,
    input  logic [$clog2(array_pkg::BANK_DEPTH)-1:0] write_address,
    input  logic [8*array_pkg::IC-1:0] write_codes,
    output logic full, // the half that is read next
    input  logic released, // for one cycle
    input  logic [array_pkg::IC*$clog2(array_pkg::BANK_DEPTH)-1:0] address_0, // of the lanes, for the first pixel
    input  logic [array_pkg::IC*$clog2(array_pkg::BANK_DEPTH)-1:0] address_1,
    output logic [8*array_pkg::IC-1:0] codes_0, // two cycles later
    output logic [8*array_pkg::IC-1:0] codes_1
);
    localparam int BITS = $clog2(array_pkg::BANK_DEPTH);

    logic [1:0] holds; // a tile, by halves
    logic filling, reading, read_then;
    assign free = !holds[filling];
    assign full = holds[reading];

    always_ff @(posedge clk) begin
        read_then <= reading;
        if (filled) begin
            holds[filling] <= 1'b1;
            filling        <= !filling;
        end
        if (released) begin
            holds[reading] <= 1'b0;
            reading        <= !reading;
        end
        if (rst) begin
            holds   <= '0;
            filling <= 1'b0;
            reading <= 1'b0;
        end
    end

    generate
        for (genvar l = 0; l < array_pkg::IC; l++) begin : g_lane
            logic [15:0] read[2]; // of both pixels, by halves
            for (genvar h = 0; h < 2; h++) begin : g_half
                logic writes;
                assign writes = write[l/8] && filling == h[0];
                ram_two_ports #(.WIDTH(8), .DEPTH(array_pkg::BANK_DEPTH)) bank (
                    .clk, .write(writes),
                    .address_a(writes ? write_address : address_0[BITS*l+:BITS]), .write_data(write_codes[8*l+:8]),
                    .read_data_a(read[h][7:0]), .address_b(address_1[BITS*l+:BITS]), .read_data_b(read[h][15:8])
                );
            end
            always_ff @(posedge clk) begin
                codes_0[8*l+:8] <= read[read_then][7:0];
                codes_1[8*l+:8] <= read[read_then][15:8];
            end
        end
    endgenerate
endmodule
