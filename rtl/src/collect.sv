// Process: adds up what the others counted in each step of a layer, and hands the sums on with the layer's last step.
module collect (
    input  logic                   clk,
    input  logic                   rst,
    input  logic                   job_valid,
    output logic                   job_ready,
    input  jobs_pkg::collect_t     job,
    input  logic                   accumulated_valid,
    output logic                   accumulated_ready,
    input  jobs_pkg::accumulated_t accumulated,
    input  logic                   fetched_valid,
    output logic                   fetched_ready,
    input  logic [31:0]            fetched,
    input  logic                   weights_valid,
    output logic                   weights_ready,
    input  logic [31:0]            weights,
    input  logic                   residuals_valid,
    output logic                   residuals_ready,
    input  logic [31:0]            residuals,
    output logic                   totals_valid,
    input  logic                   totals_ready,
    output jobs_pkg::totals_t      totals
);
    jobs_pkg::totals_t before_step;
    logic takes;
    assign takes = !totals_valid && job_valid && accumulated_valid && fetched_valid && weights_valid
        && residuals_valid;
    assign job_ready         = takes;
    assign accumulated_ready = takes;
    assign fetched_ready     = takes;
    assign weights_ready     = takes;
    assign residuals_ready   = takes;
    assign before_step       = job.first ? '0 : totals;

    always_ff @(posedge clk) begin
        if (takes) begin
            totals.accumulated.iterations <= before_step.accumulated.iterations + accumulated.iterations;
            totals.accumulated.taps       <= before_step.accumulated.taps + accumulated.taps;
            totals.accumulated.span       <= before_step.accumulated.span + accumulated.span;
            totals.fetch_words            <= before_step.fetch_words + fetched;
            totals.weight_words           <= before_step.weight_words + weights;
            totals.residual_words         <= before_step.residual_words + residuals;
        end
        if (takes && job.last) totals_valid <= 1'b1;
        if (totals_valid && totals_ready) totals_valid <= 1'b0;
        if (rst) totals_valid <= 1'b0;
    end
endmodule
