// Process: reads a step's part of the weight stream.
#pragma once

#include "ports.hpp"
#include "types.hpp"

// One step.
template <typename A>
HLS_STEP bool read_weight_words(memory_port<WeightBeat<A>>& weights, stream<WeightJob>& jobs,
                                stream<WeightBeat<A>>& beats, stream<uint32_t>& counts) {
    HLS_INLINE
    const WeightJob job = jobs.read();
    pass_on(weights, job.address / A::WEIGHT_PORT_WORDS, job.words / A::WEIGHT_PORT_WORDS, beats);
    counts.write(job.words);
    return !job.end;
}

// All steps of a run.
template <typename A>
void read_weights(memory_port<WeightBeat<A>> weights, stream<WeightJob>& jobs, stream<WeightBeat<A>>& beats,
                  stream<uint32_t>& counts) {
    HLS_NOINLINE
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = read_weight_words<A>(weights, jobs, beats, counts);
    }
}
