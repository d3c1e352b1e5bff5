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

inline void hold_loads(stream<HoldJob>& jobs, stream<bool>& completions, stream<FetchJob>& held_fetches,
                       stream<ResidualJob>& held_residuals, stream<FetchJob>& fetches,
                       stream<ResidualJob>& residuals) {
    HLS_NOINLINE
    // A run ends with some completions unread; to the next run they are those of the steps before it. Both this count
    // and the queue begin at nothing when the engine is reset.
    static uint32_t outstanding = 0;
    HLS_RESET(outstanding)

    const HoldJob job = jobs.read();
    const uint32_t missing = completions_missing(outstanding, job.depends);
completions:
    for (uint32_t i = 0; i < missing; ++i) {
        HLS_TRIPCOUNT(0, 8, 1)
        completions.read();
    }
    outstanding = outstanding - missing + 1;
    fetches.write(held_fetches.read());
    residuals.write(held_residuals.read());
}
