// Process: adds up what the others counted in each step of a layer.
#pragma once

#include "types.hpp"

inline void collect(uint32_t step, stream<AccumulateCount>& accumulated, stream<uint32_t>& fetched,
                    stream<uint32_t>& weights, stream<uint32_t>& residuals, stream<uint32_t>& stored, Totals& totals) {
    HLS_NOINLINE
    static Totals sum;
    if (step == 0) {
        sum = Totals{};
    }
    const AccumulateCount count = accumulated.read();
    sum.iterations += count.iterations;
    sum.taps += count.taps;
    sum.span += count.span;
    sum.fetch_words += fetched.read();
    sum.weight_words += weights.read();
    sum.residual_words += residuals.read();
    sum.store_words += stored.read();
    totals = sum;
}
