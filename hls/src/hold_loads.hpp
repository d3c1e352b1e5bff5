// Process: holds a step's loads back until the steps that it depends on are complete.
//
// What it hands on is what the loads cannot start without, so no read is issued early. Everything else of a step goes
// ahead meanwhile: its descriptors, its weights, its planes' addresses.
#pragma once

#include "types.hpp"

// How many more completions must be seen before a step may load, when `outstanding` steps before it have not been seen
// to be complete.
constexpr uint32_t completions_missing(uint32_t outstanding, uint8_t depends) {
    const uint32_t allowed = (depends == 0 ? isa::STEPS_IN_FLIGHT : (uint32_t)depends) - 1;
    return outstanding > allowed ? outstanding - allowed : 0;
}

inline void see_completions(stream<bool>& completions, uint32_t count) {
    HLS_INLINE
completions:
    for (uint32_t i = 0; i < count; ++i) {
        HLS_TRIPCOUNT(0, 8, 1)
        completions.read();
    }
}

// One step; `outstanding` are the steps before it that have not been seen to be complete.
HLS_STEP inline bool hold_load(stream<HoldJob>& jobs, stream<bool>& completions, stream<FetchJob>& held_fetches,
                               stream<ResidualJob>& held_residuals, stream<FetchJob>& fetches,
                               stream<ResidualJob>& residuals, uint32_t& outstanding) {
    HLS_INLINE
    const HoldJob job = jobs.read();
    const uint32_t missing = completions_missing(outstanding, job.depends);
    see_completions(completions, missing);
    outstanding = outstanding - missing + 1;
    fetches.write(held_fetches.read());
    residuals.write(held_residuals.read());
    return !job.end;
}

// All steps of a run. It ends when all are complete, so that no completion is left for the next run.
inline void hold_loads(stream<HoldJob>& jobs, stream<bool>& completions, stream<FetchJob>& held_fetches,
                       stream<ResidualJob>& held_residuals, stream<FetchJob>& fetches,
                       stream<ResidualJob>& residuals) {
    HLS_NOINLINE
    uint32_t outstanding = 0;
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = hold_load(jobs, completions, held_fetches, held_residuals, fetches, residuals, outstanding);
    }
    see_completions(completions, outstanding);
}
