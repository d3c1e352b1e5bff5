// A run as it is synthesised: one dataflow region in canonical form, whose processes start together, each run through
// all steps, and meet in channels alone. Steps overlap, also those of different layers.
#pragma once

#include "accumulate.hpp"
#include "assemble.hpp"
#include "collect.hpp"
#include "dot.hpp"
#include "fetch_input.hpp"
#include "fill_banks.hpp"
#include "hold_loads.hpp"
#include "output/combine.hpp"
#include "output/confirm.hpp"
#include "output/fetch_residual.hpp"
#include "output/requantise.hpp"
#include "output/store.hpp"
#include "read_step.hpp"
#include "read_weights.hpp"
#include "scratch.hpp"
#include "walk_pixels.hpp"

template <typename A, typename Dot>
void run_steps(memory_port<uint64_t> features, memory_port<WeightBeat<A>> weight_words, memory_port<uint64_t> residual,
               memory_port<uint64_t> descriptors, memory_port<uint64_t> results, uint32_t layer_table,
               uint32_t counters, uint32_t step_count, volatile const uint32_t* clock_layer,
               volatile const uint32_t* clock_accumulate, uint32_t* completed) {
    HLS_NOINLINE
    HLS_DATAFLOW
    // Set before the run, or (the clocks) read for what they are at any moment: nobody waits for others to read them.
    HLS_STABLE(features)
    HLS_STABLE(weight_words)
    HLS_STABLE(residual)
    HLS_STABLE(descriptors)
    HLS_STABLE(results)
    HLS_STABLE(clock_layer)
    HLS_STABLE(clock_accumulate)

    // From a late process back to an early one. No more than STEPS_IN_FLIGHT completions are ever unread.
    stream<bool> completions;
    HLS_FIFO(completions, 16)
    static_assert(isa::STEPS_IN_FLIGHT < 16, "the queue of completions is longer");

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

    // The engine's own memory: what is asked of it, and what comes back; there is room for all that was asked for.
    stream<ScratchRead> near_reads;
    HLS_FIFO(near_reads, 4)
    stream<uint64_t> near_words;
    HLS_FIFO_BRAM(near_words, ARRAY_STREAM_FIFO)
    stream<ScratchWrite> near_writes;
    HLS_FIFO(near_writes, 16)
    stream<bool> near_written;
    HLS_FIFO(near_written, 2)

    stream<uint64_t> input_words;
    HLS_FIFO_BRAM(input_words, ARRAY_STREAM_FIFO)
    // Two blocks: one step's tile is loaded while the array works on the one before.
    block_stream<Bank<A>> bank;
    HLS_PARTITION(bank, 1)
    HLS_RAM_2READ(bank)
    // Holds a whole tile, made while the array works on the one before.
    stream<Pixels<A>> walk;
    HLS_FIFO_BRAM(walk, ARRAY_ACC_DEPTH)

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
    stream<Receipt> receipts;
    HLS_FIFO(receipts, 2)

    read_steps<A>(descriptors, layer_table, counters, step_count, hold_jobs, held_fetches, planes, fill_jobs, walk_jobs,
                  weight_jobs, assemble_jobs, accumulate_jobs, pattern_words, requantise_jobs, table_words_before,
                  held_residuals, combine_jobs, table_words_after, store_jobs, collect_jobs);
    hold_loads(hold_jobs, completions, held_fetches, held_residuals, fetch_jobs, residual_jobs);
    fetch_inputs(features, fetch_jobs, planes, near_reads, near_words, input_words, fetch_counts);
    fill_banks<A>(fill_jobs, input_words, bank);
    walk_pixels<A>(walk_jobs, walk);
    read_weights<A>(weight_words, weight_jobs, weight_beats, weight_counts);
    assemble<A>(assemble_jobs, weight_beats, blocks, taps, tap_weights, scales, residual_emits, combine_emits,
                store_emits);
    accumulate<A, Dot>(accumulate_jobs, blocks, taps, tap_weights, bank, walk, pattern_words, clock_accumulate, sums,
                       accumulate_counts);
    requantise<A>(requantise_jobs, scales, sums, table_words_before, words);
    fetch_residuals<A>(residual, residual_jobs, residual_emits, residual_words, residual_counts);
    combine<A>(combine_jobs, combine_emits, words, residual_words, table_words_after, output_words);
    collect(collect_jobs, accumulate_counts, fetch_counts, weight_counts, residual_counts, totals);
    store(results, store_jobs, store_emits, output_words, totals, clock_layer, near_writes, near_written, completions,
          receipts);
    keep_scratch<A>(near_reads, near_writes, near_words, near_written);
    confirm(receipts, completed);
}
