// The register file behind AXI-Lite, at the offsets that an HLS tool gives the engine's arguments (isa_pkg).
module registers (
    input  logic        clk,
    input  logic        rst,
    input  logic [ 7:0] awaddr,
    input  logic        awvalid,
    output logic        awready,
    input  logic [31:0] wdata,
    input  logic [ 3:0] wstrb,
    input  logic        wvalid,
    output logic        wready,
    output logic [ 1:0] bresp,
    output logic        bvalid,
    input  logic        bready,
    input  logic [ 7:0] araddr,
    input  logic        arvalid,
    output logic        arready,
    output logic [31:0] rdata,
    output logic [ 1:0] rresp,
    output logic        rvalid,
    input  logic        rready,
    output logic        start, // for one cycle
    input  logic        finished, // for one cycle
    output logic [63:0] features,
    output logic [63:0] weights,
    output logic [63:0] residual,
    output logic [63:0] descriptors,
    output logic [63:0] results,
    output logic [31:0] layer_table,
    output logic [31:0] step_count,
    output logic [31:0] counters,
    input  logic [31:0] completed
);
    logic busy, done;
    logic writes, reads;

    assign bresp   = 2'b00;
    assign rresp   = 2'b00;
    assign writes  = awvalid && wvalid && !bvalid;
    assign awready = writes;
    assign wready  = writes;
    assign reads   = arvalid && !rvalid;
    assign arready = reads;

    // Drivers write whole words; strobes of a part of one are not taken.
    always_ff @(posedge clk) begin
        if (rst) begin
            bvalid <= 1'b0;
            start  <= 1'b0;
            busy   <= 1'b0;
        end else begin
            start <= 1'b0;
            if (bready) bvalid <= 1'b0;
            if (writes) begin
                bvalid <= 1'b1;
                if (awaddr == isa_pkg::REGISTER_CONTROL && wdata[0] && !busy) begin
                    start <= 1'b1;
                    busy  <= 1'b1;
                end
            end
            if (finished) busy <= 1'b0;
        end
    end

    always_ff @(posedge clk) begin
        if (writes && wstrb == 4'hf) begin
            case (awaddr)
                isa_pkg::REGISTER_FEATURES:            features[31:0] <= wdata;
                isa_pkg::REGISTER_FEATURES + 8'd4:     features[63:32] <= wdata;
                isa_pkg::REGISTER_WEIGHTS:             weights[31:0] <= wdata;
                isa_pkg::REGISTER_WEIGHTS + 8'd4:      weights[63:32] <= wdata;
                isa_pkg::REGISTER_RESIDUAL:            residual[31:0] <= wdata;
                isa_pkg::REGISTER_RESIDUAL + 8'd4:     residual[63:32] <= wdata;
                isa_pkg::REGISTER_DESCRIPTORS:         descriptors[31:0] <= wdata;
                isa_pkg::REGISTER_DESCRIPTORS + 8'd4:  descriptors[63:32] <= wdata;
                isa_pkg::REGISTER_RESULTS:             results[31:0] <= wdata;
                isa_pkg::REGISTER_RESULTS + 8'd4:      results[63:32] <= wdata;
                isa_pkg::REGISTER_LAYER_TABLE:         layer_table <= wdata;
                isa_pkg::REGISTER_STEP_COUNT:          step_count <= wdata;
                isa_pkg::REGISTER_COUNTERS:            counters <= wdata;
                default: ;
            endcase
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            rvalid <= 1'b0;
            done   <= 1'b0;
        end else begin
            if (rready) rvalid <= 1'b0;
            if (reads) begin
                rvalid <= 1'b1;
                if (araddr == isa_pkg::REGISTER_CONTROL) done <= 1'b0; // clears on read
            end
            if (finished) done <= 1'b1;
        end
        if (reads) begin
            case (araddr)
                isa_pkg::REGISTER_CONTROL:   rdata <= {28'd0, done, !busy, done, busy};
                isa_pkg::REGISTER_DIGEST:    rdata <= array_pkg::DIGEST;
                isa_pkg::REGISTER_COMPLETED: rdata <= completed;
                default:                     rdata <= 32'd0;
            endcase
        end
    end
endmodule
