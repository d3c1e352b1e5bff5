// Process: asks for a step's part of the weight stream, all of it at once.
module read_weights (
    input  logic               clk,
    input  logic               rst,
    input  logic               job_valid,
    output logic               job_ready,
    input  jobs_pkg::weight_t  job,
    output logic               request_valid,
    input  logic               request_ready,
    output jobs_pkg::request_t request,
    output logic               count_valid,
    input  logic               count_ready,
    output logic [31:0]        count
);
    // The request and the count leave with the job, each as soon as its queue takes it.
    logic asked, counted;
    assign request_valid   = job_valid && !asked;
    assign request.address = job.address;
    assign request.length  = job.words / array_pkg::WEIGHT_PORT_WORDS;
    assign request.done    = 1'b0;
    assign count_valid     = job_valid && !counted;
    assign count           = job.words;
    assign job_ready       = (asked || request_ready) && (counted || count_ready);

    always_ff @(posedge clk) begin
        asked   <= job_valid && !job_ready && (asked || request_ready);
        counted <= job_valid && !job_ready && (counted || count_ready);
        if (rst) begin
            asked   <= 1'b0;
            counted <= 1'b0;
        end
    end
endmodule
