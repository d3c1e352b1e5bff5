// Host only: the library's entry points. One buffer plays the DDR; no clock is attached.
#include <cstdio>

#include "engine.hpp"
#include "host_check.hpp"
#include "host_deadline.hpp"

#define HOST_EXPORT extern "C" __attribute__((visibility("default")))

static thread_local char last_fault[200];

// What the last proprune_run of this thread found wrong; empty when nothing.
HOST_EXPORT const char* proprune_fault() { return last_fault; }

// Runs a program in a buffer of `words` words, for `seconds` at most: where they pass, `completed` is less than
// `step_count`. Returns 0, or how many faults were found.
HOST_EXPORT uint32_t proprune_run(uint64_t* buffer, uint64_t words, uint32_t layer_table, uint32_t step_count,
                                  uint32_t counters, double seconds, uint32_t* digest, uint32_t* completed) {
    last_fault[0] = 0;
    *digest = Array::DIGEST;
    *completed = 0;
    ProgramCheck check(buffer, words);
    if (!check.run(layer_table, step_count, counters)) {
        std::snprintf(last_fault, sizeof last_fault, "%s", check.fault());
        return 1;
    }
    const uint32_t clock = 0;
    host_stream_faults() = 0;
    host_start_clock(seconds);
    engine(buffer, reinterpret_cast<WeightBeat<Array>*>(buffer), buffer, buffer, buffer, layer_table,
           step_count, counters, digest, completed, &clock, &clock);
    const uint32_t faults = host_stream_faults();
    if (faults != 0) {
        // A stream ran dry or kept words: on hardware each of them would hang the engine.
        std::snprintf(last_fault, sizeof last_fault, "%u streams ran dry or kept words; its counts contradict each other",
                      faults);
    }
    return faults;
}
