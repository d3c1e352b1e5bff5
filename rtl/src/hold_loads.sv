// Process: holds a step's loads back until the steps that it depends on are complete. Everything else of a step goes
// ahead meanwhile: its descriptors, its weights, its planes' addresses.
module hold_loads (
    input  logic                clk,
    input  logic                rst,
    input  logic                job_valid,
    output logic                job_ready,
    input  logic [7:0]          depends,
    input  logic                completed, // a step, for one cycle
    input  logic                held_fetch_valid,
    output logic                held_fetch_ready,
    input  logic                held_residual_valid,
    output logic                held_residual_ready,
    output logic                fetch_valid,
    input  logic                fetch_ready,
    output logic                residual_valid,
    input  logic                residual_ready
);
    logic [3:0] outstanding; // steps that were let go and are not complete
    logic [3:0] allowed;
    logic goes;

    // The jobs themselves pass by, from one queue to the next; both move in the same cycle.
    assign allowed = depends == 0 || depends > 8'(isa_pkg::STEPS_IN_FLIGHT) ? 4'(isa_pkg::STEPS_IN_FLIGHT - 1)
        : depends[3:0] - 1'b1;
    assign goes = job_valid && held_fetch_valid && held_residual_valid && outstanding <= allowed
        && fetch_ready && residual_ready;
    assign job_ready           = goes;
    assign held_fetch_ready    = goes;
    assign held_residual_ready = goes;
    assign fetch_valid         = goes;
    assign residual_valid      = goes;

    always_ff @(posedge clk) begin
        if (rst) outstanding <= '0;
        else outstanding <= outstanding + 4'(goes) - 4'(completed);
    end
endmodule
