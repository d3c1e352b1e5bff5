// A memory port for reading: cuts requests into bursts that stay within 4 KiB, several of them under way at once; the
// words leave in the order of the requests, straight from the bus.
module axi_read #(
    parameter int WORDS = 1, // 64-bit words of a beat
    parameter int OUTSTANDING = 8,
    parameter int BURST = 64
) (
    input  logic                clk,
    input  logic                rst,
    input  logic [        39:0] base, // byte address of word 0
    // jobs_pkg::request_t
    input  logic                request_valid,
    output logic                request_ready,
    input  jobs_pkg::request_t  request,
    output logic                data_valid,
    input  logic                data_ready,
    output logic [64*WORDS-1:0] data,
    output logic [        39:0] araddr,
    output logic [         7:0] arlen,
    output logic                arvalid,
    input  logic                arready,
    input  logic [64*WORDS-1:0] rdata,
    input  logic                rlast,
    input  logic                rvalid,
    output logic                rready
);
    localparam int BEAT_BYTES = 8 * WORDS;
    localparam int BEAT_BITS = $clog2(BEAT_BYTES);
    localparam int PAGE_BEATS = 4096 / BEAT_BYTES;
    localparam int PAGE_BITS = $clog2(PAGE_BEATS) + 1;
    localparam int COUNT = $clog2(OUTSTANDING) + 1;

    logic next_valid;
    jobs_pkg::request_t next;
    logic next_ready;
    fifo #(.WIDTH($bits(next)), .DEPTH(8)) requests (
        .clk, .rst, .in_valid(request_valid), .in_ready(request_ready), .in_data(request),
        .out_valid(next_valid), .out_ready(next_ready), .out_data(next)
    );

    logic [39:0] address; // of the next burst
    logic [31:0] left; // beats that no burst was asked for
    logic [COUNT-1:0] under_way;
    logic [PAGE_BITS-1:0] room; // beats to the end of the page
    logic [8:0] length;

    always_comb begin
        room = PAGE_BITS'(PAGE_BEATS) - PAGE_BITS'(address[11:BEAT_BITS]);
        length = 9'(BURST);
        if (room < PAGE_BITS'(BURST)) length = 9'(room);
        if (left < 32'(length)) length = left[8:0];
    end

    assign next_ready = left == 0;
    assign data       = rdata;
    assign data_valid = rvalid;
    assign rready     = data_ready;

    always_ff @(posedge clk) begin
        if (rst) begin
            left      <= '0;
            arvalid   <= 1'b0;
            under_way <= '0;
        end else begin
            if (next_valid && next_ready) begin
                address <= base + {5'd0, next.address, 3'd0};
                left    <= next.length;
            end
            if (arvalid && arready) arvalid <= 1'b0;
            if (left != 0 && (!arvalid || arready) && under_way < COUNT'(OUTSTANDING)) begin
                araddr  <= address;
                arlen   <= 8'(length - 1'b1);
                arvalid <= 1'b1;
                address <= address + (40'(length) << BEAT_BITS);
                left    <= left - 32'(length);
            end
            under_way <= under_way
                + COUNT'(left != 0 && (!arvalid || arready) && under_way < COUNT'(OUTSTANDING))
                - COUNT'(rvalid && rready && rlast);
        end
    end
endmodule
