// A memory port for writing: cuts requests into bursts that stay within 4 KiB, and takes their words from a stream. A
// request with `done` has no words: `completed` pulses when all that was asked for before it has been acknowledged.
module axi_write #(
    parameter int OUTSTANDING = 8,
    parameter int BURST = 64
) (
    input  logic               clk,
    input  logic               rst,
    input  logic [       39:0] base,
    input  logic               request_valid,
    output logic               request_ready,
    input  jobs_pkg::request_t request,
    input  logic               data_valid,
    output logic               data_ready,
    input  logic [       63:0] data,
    output logic               completed,
    output logic [       39:0] awaddr,
    output logic [        7:0] awlen,
    output logic               awvalid,
    input  logic               awready,
    output logic [       63:0] wdata,
    output logic               wlast,
    output logic               wvalid,
    input  logic               wready,
    input  logic               bvalid,
    output logic               bready
);
    logic next_valid, next_ready;
    jobs_pkg::request_t next;
    fifo #(.WIDTH($bits(next)), .DEPTH(16)) requests (
        .clk, .rst, .in_valid(request_valid), .in_ready(request_ready), .in_data(request),
        .out_valid(next_valid), .out_ready(next_ready), .out_data(next)
    );

    logic [39:0] address;
    logic [31:0] left;
    logic ended; // the request in hand is one that says `done`
    logic [9:0] room;
    logic [8:0] length;

    always_comb begin
        room = 10'd512 - 10'(address[11:3]);
        length = 9'(BURST);
        if (room < 10'(BURST)) length = 9'(room);
        if (left < 32'(length)) length = left[8:0];
    end

    // What each burst is waited for: a response, or for `done` none.
    logic wait_in_ready, wait_valid, wait_ready, wait_done;
    logic burst_in_ready, burst_valid, burst_ready;
    logic [8:0] burst_length;
    logic asks;

    assign asks       = left != 0 && (!awvalid || awready) && wait_in_ready && burst_in_ready;
    assign next_ready = left == 0 && !ended;

    fifo #(.WIDTH(1), .DEPTH(OUTSTANDING)) waits (
        .clk, .rst, .in_valid(asks || (ended && wait_in_ready)), .in_ready(wait_in_ready), .in_data(ended),
        .out_valid(wait_valid), .out_ready(wait_ready), .out_data(wait_done)
    );
    fifo #(.WIDTH(9), .DEPTH(OUTSTANDING)) bursts (
        .clk, .rst, .in_valid(asks), .in_ready(burst_in_ready), .in_data(length),
        .out_valid(burst_valid), .out_ready(burst_ready), .out_data(burst_length)
    );

    always_ff @(posedge clk) begin
        if (rst) begin
            left    <= '0;
            ended   <= 1'b0;
            awvalid <= 1'b0;
        end else begin
            if (next_valid && next_ready) begin
                address <= base + {5'd0, next.address, 3'd0};
                left    <= next.length;
                ended   <= next.done;
            end
            if (ended && wait_in_ready) ended <= 1'b0;
            if (awvalid && awready) awvalid <= 1'b0;
            if (asks) begin
                awaddr  <= address;
                awlen   <= 8'(length - 1'b1);
                awvalid <= 1'b1;
                address <= address + (40'(length) << 3);
                left    <= left - 32'(length);
            end
        end
    end

    // The words of the bursts, in order.
    logic [8:0] sent;
    assign wvalid      = burst_valid && data_valid;
    assign data_ready  = burst_valid && wready;
    assign wdata       = data;
    assign wlast       = sent + 1'b1 == burst_length;
    assign burst_ready = wvalid && wready && wlast;
    always_ff @(posedge clk) begin
        if (rst) sent <= '0;
        else if (wvalid && wready) sent <= wlast ? 9'd0 : sent + 1'b1;
    end

    // Responses come in the order of the bursts.
    assign bready     = wait_valid && !wait_done;
    assign wait_ready = wait_valid && (wait_done || bvalid);
    assign completed  = wait_valid && wait_done;
endmodule
