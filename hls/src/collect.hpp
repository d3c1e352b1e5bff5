// Process: adds up what the others counted in each step of a layer, and hands the sums on with the layer's last step.
#pragma once

#include "types.hpp"

inline void collect(stream<CollectJob>& jobs, stream<AccumulateCount>& accumulated, stream<uint32_t>& fetched,
                    stream<uint32_t>& weights, stream<uint32_t>& residuals, stream<Totals>& totals) {
    HLS_NOINLINE
    static Totals sum;
    const CollectJob job = jobs.read();
    if (job.first) {
        sum = Totals{};
    }
    const AccumulateCount count = accumulated.read();
    sum.iterations += count.iterations;
    sum.taps += count.taps;
    sum.span += count.span;
    sum.fetch_words += fetched.read();
    sum.weight_words += weights.read();
    sum.residual_words += residuals.read();
    if (job.last) {
        totals.write(sum);
    }
}
