// Process: reads a step's part of the weight stream as one long burst.
#pragma once

#include "types.hpp"

template <typename A>
void read_weights(const WeightBeat<A>* weights, stream<WeightJob>& jobs, stream<WeightBeat<A>>& beats,
                  stream<uint32_t>& counts) {
    HLS_NOINLINE
    const WeightJob job = jobs.read();
    const uint32_t first = job.address / A::WEIGHT_PORT_WORDS;
    const uint32_t length = job.words / A::WEIGHT_PORT_WORDS;
burst:
    for (uint32_t i = 0; i < length; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 1048576, 8192)
        beats.write(weights[first + i]);
    }
    counts.write(job.words);
}
