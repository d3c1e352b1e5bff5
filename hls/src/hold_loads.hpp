// Process: holds a step's loads back until the steps that it depends on are complete.
//
// What it hands on is what the loads cannot start without, so no read is issued early. Everything else of a step goes
// ahead meanwhile: its descriptors, its weights, its planes' addresses.
#pragma once

#include "types.hpp"

inline void hold_loads(uint32_t index, stream<HoldJob>& jobs, stream<bool>& completions, stream<FetchJob>& held_fetches,
                       stream<ResidualJob>& held_residuals, stream<FetchJob>& fetches,
                       stream<ResidualJob>& residuals) {
    HLS_NOINLINE
    // Steps let go whose completion has not been read. A run ends with some of them left in the stream; they are read
    // before the next run's first step.
    static uint32_t outstanding = 0;
    HLS_RESET(outstanding)

    const HoldJob job = jobs.read();
    const uint32_t depends = job.depends == 0 ? isa::STEPS_IN_FLIGHT : job.depends;
    const uint32_t allowed = index == 0 ? 0u : depends - 1;
    const uint32_t missing = outstanding > allowed ? outstanding - allowed : 0u;
completions:
    for (uint32_t i = 0; i < missing; ++i) {
        HLS_TRIPCOUNT(0, 8, 1)
        completions.read();
    }
    outstanding = outstanding - missing + 1;
    fetches.write(held_fetches.read());
    residuals.write(held_residuals.read());
}
