// A run: one loop over the steps of all its layers, whose body is a dataflow region, so that steps overlap across layers.
#pragma once

#include "accumulate.hpp"
#include "assemble.hpp"
#include "collect.hpp"
#include "output/combine.hpp"
#include "output/confirm.hpp"
#include "dot.hpp"
#include "fetch_input.hpp"
#include "output/fetch_residual.hpp"
#include "fill_banks.hpp"
#include "hold_loads.hpp"
#include "read_step.hpp"
#include "read_weights.hpp"
#include "output/requantise.hpp"
#include "output/store.hpp"
#include "walk_pixels.hpp"

template <typename A, typename Dot>
void run_steps(const uint64_t* features, const WeightBeat<A>* weight_words, const uint64_t* residual,
               const uint64_t* descriptors, uint64_t* results, uint64_t scratch[A::SCRATCH_WORDS],
               uint32_t layer_table, uint32_t counters, uint32_t step_count, uint32_t started,
               volatile const uint32_t* clock_layer, volatile const uint32_t* clock_accumulate, uint32_t* completed) {
    HLS_NOINLINE
steps:
    for (uint32_t s = 0; s < step_count; ++s) {
        HLS_TRIPCOUNT(0, 65535, 1024)
        HLS_HOST_MAY_STOP
        HLS_DATAFLOW
        // From the last process back to an early one, and from one step to the next: hence static. It never fills: no
        // more than STEPS_IN_FLIGHT completions are ever unread.
        static stream<bool> completions;
        HLS_FIFO(completions, 16)
        static_assert(isa::STEPS_IN_FLIGHT <= 16, "the queue of completions is as long");
        uint32_t receipt[RECEIPT_WORDS];
        HLS_HANDED_OVER(receipt)

        stream<HoldJob> hold_jobs;
        HLS_FIFO(hold_jobs, 2)
        stream<FetchJob> held_fetches;
        HLS_FIFO(held_fetches, 2)
        stream<ResidualJob> held_residuals;
        HLS_FIFO(held_residuals, 2)
        stream<FetchJob> fetch_jobs;
        HLS_FIFO(fetch_jobs, 2)
        stream<uint32_t> planes;
        HLS_FIFO(planes, 64)
        stream<FillJob> fill_jobs;
        HLS_FIFO(fill_jobs, 2)
        stream<WalkJob> walk_jobs;
        HLS_FIFO(walk_jobs, 2)
        stream<WeightJob> weight_jobs;
        HLS_FIFO(weight_jobs, 2)
        stream<AssembleJob> assemble_jobs;
        HLS_FIFO(assemble_jobs, 2)
        stream<AccumulateJob> accumulate_jobs;
        HLS_FIFO(accumulate_jobs, 8)
        stream<RequantiseJob> requantise_jobs;
        HLS_FIFO(requantise_jobs, 8)
        stream<ResidualJob> residual_jobs;
        HLS_FIFO(residual_jobs, 8)
        stream<CombineJob> combine_jobs;
        HLS_FIFO(combine_jobs, 8)
        stream<StoreJob> store_jobs;
        HLS_FIFO(store_jobs, 8)
        stream<CollectJob> collect_jobs;
        HLS_FIFO(collect_jobs, 8)
        stream<uint64_t> pattern_words;
        HLS_FIFO(pattern_words, 64)
        stream<uint64_t> table_words_before;
        HLS_FIFO(table_words_before, 32)
        stream<uint64_t> table_words_after;
        HLS_FIFO(table_words_after, 32)

        stream<uint64_t> input_words;
        HLS_FIFO_BRAM(input_words, ARRAY_STREAM_FIFO)
        int8_t bank[A::IC][A::BANK_DEPTH];
        HLS_PARTITION(bank, 1)
        HLS_RAM_2READ(bank)
        uint16_t walk[A::ACC_DEPTH][A::PX];
        HLS_PARTITION(walk, 2)
        HLS_RAM_READ_WRITE(walk)

        stream<WeightBeat<A>> weight_beats;
        HLS_FIFO_BRAM(weight_beats, ARRAY_STREAM_FIFO)
        // Two taps wait here while a third is used: changing taps costs no cycle.
        stream<Weights<A>> tap_weights;
        HLS_FIFO(tap_weights, 2)
        stream<Tap> taps;
        HLS_FIFO(taps, 4)
        stream<Block<A>> blocks;
        HLS_FIFO(blocks, 2)
        stream<Scales<A>> scales;
        HLS_FIFO(scales, 4)
        stream<Emit> residual_emits;
        HLS_FIFO(residual_emits, 4)
        stream<Emit> combine_emits;
        HLS_FIFO(combine_emits, 4)
        stream<Emit> store_emits;
        HLS_FIFO(store_emits, 4)

        // Holds a whole tile: the array goes on with the next block while this one is requantised.
        stream<Sums<A>> sums;
        HLS_FIFO_BRAM(sums, ARRAY_ACC_DEPTH)
        stream<uint64_t> words[A::OC_GROUPS];
        HLS_FIFO_BRAM(words, ARRAY_WORD_FIFO)
        stream<uint64_t> residual_words;
        HLS_FIFO_BRAM(residual_words, ARRAY_STREAM_FIFO)
        stream<uint64_t> output_words;
        HLS_FIFO_BRAM(output_words, ARRAY_STREAM_FIFO)

        stream<uint32_t> fetch_counts;
        HLS_FIFO(fetch_counts, 4)
        stream<uint32_t> weight_counts;
        HLS_FIFO(weight_counts, 4)
        stream<AccumulateCount> accumulate_counts;
        HLS_FIFO(accumulate_counts, 4)
        stream<uint32_t> residual_counts;
        HLS_FIFO(residual_counts, 4)
        stream<Totals> totals;
        HLS_FIFO(totals, 2)

        read_step<A>(descriptors, layer_table, counters, s, hold_jobs, held_fetches, planes, fill_jobs, walk_jobs,
                     weight_jobs, assemble_jobs, accumulate_jobs, pattern_words, requantise_jobs, table_words_before,
                     held_residuals, combine_jobs, table_words_after, store_jobs, collect_jobs);
        hold_loads(hold_jobs, completions, held_fetches, held_residuals, fetch_jobs, residual_jobs);
        fetch_input<A>(features, scratch, fetch_jobs, planes, input_words, fetch_counts);
        fill_banks<A>(fill_jobs, input_words, bank);
        walk_pixels<A>(walk_jobs, walk);
        read_weights<A>(weight_words, weight_jobs, weight_beats, weight_counts);
        assemble<A>(assemble_jobs, weight_beats, blocks, taps, tap_weights, scales, residual_emits, combine_emits,
                    store_emits);
        accumulate<A, Dot>(accumulate_jobs, blocks, taps, tap_weights, bank, walk, pattern_words, clock_accumulate,
                           sums, accumulate_counts);
        requantise<A>(requantise_jobs, scales, sums, table_words_before, words);
        fetch_residual(residual, residual_jobs, residual_emits, residual_words, residual_counts);
        combine<A>(combine_jobs, combine_emits, words, residual_words, table_words_after, output_words);
        collect(collect_jobs, accumulate_counts, fetch_counts, weight_counts, residual_counts, totals);
        store<A>(results, scratch, s, started, store_jobs, store_emits, output_words, totals, clock_layer, receipt);
        confirm(receipt, completions, completed);
    }
}
