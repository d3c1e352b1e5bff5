// Process: adds up what the others counted in each step of a layer, and hands the sums on with the layer's last step.
#pragma once

#include "types.hpp"

// One step; `sum` is that of the layer so far.
HLS_STEP inline bool collect_step(stream<CollectJob>& jobs, stream<AccumulateCount>& accumulated,
                                  stream<uint32_t>& fetched, stream<uint32_t>& weights, stream<uint32_t>& residuals,
                                  stream<Totals>& totals, Totals& sum) {
    HLS_INLINE
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
    return !job.end;
}

// All steps of a run.
inline void collect(stream<CollectJob>& jobs, stream<AccumulateCount>& accumulated, stream<uint32_t>& fetched,
                    stream<uint32_t>& weights, stream<uint32_t>& residuals, stream<Totals>& totals) {
    HLS_NOINLINE
    Totals sum{};
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = collect_step(jobs, accumulated, fetched, weights, residuals, totals, sum);
    }
}
