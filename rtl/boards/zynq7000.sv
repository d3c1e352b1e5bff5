// The engine beside the processors of a Zynq-7000: registers behind M_AXI_GP0, memory on the four HP ports. Nothing
// leaves by a pin of the fabric. The processors' own pins, clocks and port widths are set by what boots the board.
//
// The HP ports speak AXI3: 16 beats a burst, so BURST is 16, and no address above 4 GiB. One engine port reads each HP
// port, and results leave on HP3, where only descriptors are read. GP0 is taken one beat at a time: loads and stores of
// words from a device mapping are that; bursts are not answered right.
module zynq7000 ();
    logic fclk, clk, resetn;
    logic [1:0] reset_steps;
    logic rst;
    logic irq;
    BUFG clock_buffer (.I(fclk), .O(clk));
    always_ff @(posedge clk) reset_steps <= {reset_steps[0], !resetn};
    assign rst = reset_steps[1];

    // GP0. The engine has one write and one read under way, whose identifiers are kept for the answer.
    logic [31:0] g_awaddr, g_araddr, g_wdata, g_rdata;
    logic [11:0] g_awid, g_arid, g_bid, g_rid;
    logic [3:0] g_wstrb;
    logic [1:0] g_bresp, g_rresp;
    logic g_awvalid, g_awready, g_wvalid, g_wready, g_bvalid, g_bready, g_arvalid, g_arready, g_rvalid, g_rready;
    always_ff @(posedge clk) begin
        if (g_awvalid && g_awready) g_bid <= g_awid;
        if (g_arvalid && g_arready) g_rid <= g_arid;
    end

    logic [39:0] x_araddr, w_araddr, r_araddr, d_araddr, y_awaddr;
    logic [7:0] x_arlen, w_arlen, r_arlen, d_arlen, y_awlen;
    logic [63:0] x_rdata, w_rdata, r_rdata, d_rdata, y_wdata;
    logic x_arvalid, x_arready, x_rvalid, x_rready, x_rlast;
    logic w_arvalid, w_arready, w_rvalid, w_rready, w_rlast;
    logic r_arvalid, r_arready, r_rvalid, r_rready, r_rlast;
    logic d_arvalid, d_arready, d_rvalid, d_rready, d_rlast;
    logic y_awvalid, y_awready, y_wvalid, y_wready, y_wlast, y_bvalid, y_bready;

    engine #(.BURST(16)) engine (
        .clk, .rst,
        .s_awaddr(g_awaddr[7:0]), .s_awvalid(g_awvalid), .s_awready(g_awready), .s_wdata(g_wdata), .s_wstrb(g_wstrb),
        .s_wvalid(g_wvalid), .s_wready(g_wready), .s_bresp(g_bresp), .s_bvalid(g_bvalid), .s_bready(g_bready),
        .s_araddr(g_araddr[7:0]), .s_arvalid(g_arvalid), .s_arready(g_arready), .s_rdata(g_rdata), .s_rresp(g_rresp),
        .s_rvalid(g_rvalid), .s_rready(g_rready),
        .x_araddr, .x_arlen, .x_arvalid, .x_arready, .x_rdata, .x_rlast, .x_rvalid, .x_rready,
        .w_araddr, .w_arlen, .w_arvalid, .w_arready, .w_rdata, .w_rlast, .w_rvalid, .w_rready,
        .r_araddr, .r_arlen, .r_arvalid, .r_arready, .r_rdata, .r_rlast, .r_rvalid, .r_rready,
        .d_araddr, .d_arlen, .d_arvalid, .d_arready, .d_rdata, .d_rlast, .d_rvalid, .d_rready,
        .y_awaddr, .y_awlen, .y_awvalid, .y_awready, .y_wdata, .y_wlast, .y_wvalid, .y_wready, .y_bvalid, .y_bready,
        .irq
    );

    // What a pin is not named for here is tied low by the tools, or left open.
    logic [3:0] fclks, resets;
    assign fclk   = fclks[0];
    assign resetn = resets[0];
    PS7 processors (
        .FCLKCLK(fclks), .FCLKRESETN(resets), .IRQF2P({19'd0, irq}),
        .MAXIGP0ACLK(clk), .MAXIGP0AWADDR(g_awaddr), .MAXIGP0AWID(g_awid), .MAXIGP0AWVALID(g_awvalid),
        .MAXIGP0AWREADY(g_awready), .MAXIGP0WDATA(g_wdata), .MAXIGP0WSTRB(g_wstrb), .MAXIGP0WVALID(g_wvalid),
        .MAXIGP0WREADY(g_wready), .MAXIGP0BID(g_bid), .MAXIGP0BRESP(g_bresp), .MAXIGP0BVALID(g_bvalid),
        .MAXIGP0BREADY(g_bready), .MAXIGP0ARADDR(g_araddr), .MAXIGP0ARID(g_arid), .MAXIGP0ARVALID(g_arvalid),
        .MAXIGP0ARREADY(g_arready), .MAXIGP0RDATA(g_rdata), .MAXIGP0RID(g_rid), .MAXIGP0RRESP(g_rresp),
        .MAXIGP0RLAST(1'b1), .MAXIGP0RVALID(g_rvalid), .MAXIGP0RREADY(g_rready),

        .SAXIHP0ACLK(clk), .SAXIHP0ARADDR(x_araddr[31:0]), .SAXIHP0ARLEN(x_arlen[3:0]), .SAXIHP0ARSIZE(2'd3),
        .SAXIHP0ARBURST(2'd1), .SAXIHP0ARCACHE(4'd3), .SAXIHP0ARVALID(x_arvalid), .SAXIHP0ARREADY(x_arready),
        .SAXIHP0RDATA(x_rdata), .SAXIHP0RLAST(x_rlast), .SAXIHP0RVALID(x_rvalid), .SAXIHP0RREADY(x_rready),

        .SAXIHP1ACLK(clk), .SAXIHP1ARADDR(w_araddr[31:0]), .SAXIHP1ARLEN(w_arlen[3:0]), .SAXIHP1ARSIZE(2'd3),
        .SAXIHP1ARBURST(2'd1), .SAXIHP1ARCACHE(4'd3), .SAXIHP1ARVALID(w_arvalid), .SAXIHP1ARREADY(w_arready),
        .SAXIHP1RDATA(w_rdata), .SAXIHP1RLAST(w_rlast), .SAXIHP1RVALID(w_rvalid), .SAXIHP1RREADY(w_rready),

        .SAXIHP2ACLK(clk), .SAXIHP2ARADDR(r_araddr[31:0]), .SAXIHP2ARLEN(r_arlen[3:0]), .SAXIHP2ARSIZE(2'd3),
        .SAXIHP2ARBURST(2'd1), .SAXIHP2ARCACHE(4'd3), .SAXIHP2ARVALID(r_arvalid), .SAXIHP2ARREADY(r_arready),
        .SAXIHP2RDATA(r_rdata), .SAXIHP2RLAST(r_rlast), .SAXIHP2RVALID(r_rvalid), .SAXIHP2RREADY(r_rready),

        .SAXIHP3ACLK(clk), .SAXIHP3ARADDR(d_araddr[31:0]), .SAXIHP3ARLEN(d_arlen[3:0]), .SAXIHP3ARSIZE(2'd3),
        .SAXIHP3ARBURST(2'd1), .SAXIHP3ARCACHE(4'd3), .SAXIHP3ARVALID(d_arvalid), .SAXIHP3ARREADY(d_arready),
        .SAXIHP3RDATA(d_rdata), .SAXIHP3RLAST(d_rlast), .SAXIHP3RVALID(d_rvalid), .SAXIHP3RREADY(d_rready),
        .SAXIHP3AWADDR(y_awaddr[31:0]), .SAXIHP3AWLEN(y_awlen[3:0]), .SAXIHP3AWSIZE(2'd3), .SAXIHP3AWBURST(2'd1),
        .SAXIHP3AWCACHE(4'd3), .SAXIHP3AWVALID(y_awvalid), .SAXIHP3AWREADY(y_awready), .SAXIHP3WDATA(y_wdata),
        .SAXIHP3WSTRB(8'hff), .SAXIHP3WLAST(y_wlast), .SAXIHP3WVALID(y_wvalid), .SAXIHP3WREADY(y_wready),
        .SAXIHP3BVALID(y_bvalid), .SAXIHP3BREADY(y_bready)
    );
endmodule
