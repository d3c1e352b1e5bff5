// Process: writes the output words: one burst per group or per row of the tile, or word by word where pixels lie apart;
// and, after a layer's last step, the layer's counters.
#pragma once

#include "output/confirm.hpp"
#include "types.hpp"

inline void write_counters(uint64_t* results, uint32_t address, const Totals& totals, uint32_t stored,
                           uint32_t cycles) {
    HLS_INLINE
    isa::LayerCounters counts{};
    HLS_PARTITION(counts.word, 1)
    counts.set_cycles(cycles);
    counts.set_accumulate_span(totals.span);
    counts.set_iterations(totals.iterations);
    counts.set_taps(totals.taps);
    counts.set_fetch_words(totals.fetch_words);
    counts.set_weight_words(totals.weight_words);
    counts.set_residual_words(totals.residual_words);
    counts.set_store_words(stored);
words:
    for (uint32_t i = 0; i < isa::LayerCounters::WORDS; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(4, 4, 4)
        results[address + i] = counts.word[i];
    }
}

// `started`: the clock at the start of the run.
template <typename A>
void store(uint64_t* results, uint64_t scratch[A::SCRATCH_WORDS], uint32_t index, uint32_t started,
           stream<StoreJob>& jobs, stream<Emit>& emits, stream<uint64_t>& words, stream<Totals>& totals,
           volatile const uint32_t* clock, uint32_t receipt[RECEIPT_WORDS]) {
    HLS_NOINLINE
    static uint32_t stored;     // words of this layer
    static uint32_t last_write; // of the layer before, by the clock
    const StoreJob job = jobs.read();
    uint32_t count = job.first ? 0u : stored;
    const uint32_t since = index == 0 ? started : last_write;
blocks:
    for (uint32_t b = 0; b < job.emit_blocks; ++b) {
        HLS_TRIPCOUNT(0, 512, 8)
        const Emit emit = emits.read();
        const uint32_t plane = emit.out_group * job.out_plane;
        HLS_FABRIC_MULTIPLY(plane)
        uint32_t start = job.out_base + plane + job.bursts.offset;
    groups:
        for (uint32_t g = 0; g < emit.groups; ++g) {
            HLS_TRIPCOUNT(1, ARRAY_OC_GROUPS, ARRAY_OC_GROUPS)
            uint32_t address = start;
        runs:
            for (uint32_t run = 0; run < job.bursts.runs; ++run) {
                HLS_TRIPCOUNT(0, 1024, 14)
                uint32_t apart = address;
                if (job.on_chip) {
                near:
                    for (uint32_t i = 0; i < job.bursts.length; ++i) {
                        HLS_PIPELINE(1)
                        HLS_TRIPCOUNT(0, 1024, 56)
                        scratch[apart & (A::SCRATCH_WORDS - 1)] = words.read();
                        apart += job.step;
                    }
                } else if (job.step == 1) {
                burst:
                    for (uint32_t i = 0; i < job.bursts.length; ++i) {
                        HLS_PIPELINE(1)
                        HLS_TRIPCOUNT(0, 1024, 56)
                        results[address + i] = words.read();
                    }
                } else {
                singles:
                    for (uint32_t i = 0; i < job.bursts.length; ++i) {
                        HLS_PIPELINE(1)
                        HLS_TRIPCOUNT(0, 1024, 28)
                        results[apart] = words.read();
                        apart += job.step;
                    }
                }
                address += job.bursts.pitch;
                count += job.bursts.length;
            }
            start += job.out_plane;
        }
    }
    stored = count;
    last_write = since;
    if (job.last) {
        const uint32_t now = *clock;
        write_counters(results, job.counters, totals.read(), count, now - since);
        last_write = now;
    }
    receipt[0] = index + 1;
}
