// Host only: a run with the same steps of the same processes, one process after the other and one step after the other.
// No process ever waits here, so neither threads nor full queues are needed.
#pragma once

#include "accumulate.hpp"
#include "assemble.hpp"
#include "collect.hpp"
#include "fetch_input.hpp"
#include "fill_banks.hpp"
#include "hold_loads.hpp"
#include "host_deadline.hpp"
#include "host_scratch.hpp"
#include "output/combine.hpp"
#include "output/confirm.hpp"
#include "output/fetch_residual.hpp"
#include "output/requantise.hpp"
#include "output/store.hpp"
#include "read_step.hpp"
#include "read_weights.hpp"
#include "walk_pixels.hpp"

// Every channel of steps.hpp, under the same names, and what processes keep from one step to the next.
template <typename A>
struct HostChannels {
    stream<bool> completions;
    stream<HoldJob> hold_jobs;
    stream<FetchJob> held_fetches, fetch_jobs;
    stream<ResidualJob> held_residuals, residual_jobs;
    stream<uint32_t> planes;
    stream<FillJob> fill_jobs;
    stream<WalkJob> walk_jobs;
    stream<WeightJob> weight_jobs;
    stream<AssembleJob> assemble_jobs;
    stream<AccumulateJob> accumulate_jobs;
    stream<RequantiseJob> requantise_jobs;
    stream<CombineJob> combine_jobs;
    stream<StoreJob> store_jobs;
    stream<CollectJob> collect_jobs;
    stream<uint64_t> pattern_words, table_words_before, table_words_after;
    stream<uint64_t> input_words, near_words, residual_words, output_words;
    stream<uint64_t> words[A::OC_GROUPS];
    stream<bool> near_written;
    block_stream<Bank<A>> bank;
    stream<Pixels<A>> walk;
    stream<WeightBeat<A>> weight_beats;
    stream<Weights<A>> tap_weights;
    stream<Tap> taps;
    stream<Block<A>> blocks;
    stream<Scales<A>> scales;
    stream<Emit> residual_emits, combine_emits, store_emits;
    stream<Sums<A>> sums;
    stream<uint32_t> fetch_counts, weight_counts, residual_counts;
    stream<AccumulateCount> accumulate_counts;
    stream<Totals> totals;
    stream<Receipt> receipts;
};

template <typename A>
struct HostMemories {
    int32_t acc[A::ACC_DEPTH][A::PX][A::OC];
    uint16_t patterns[A::MAX_PATTERNS][A::IC];
    uint16_t cells[A::ACC_DEPTH][A::PX];
    uint64_t table_before[isa::GROUP][TABLE_WORDS];
    uint64_t table_after[isa::GROUP][TABLE_WORDS];
    uint64_t scratch[A::SCRATCH_WORDS];
};

template <typename A, typename Dot>
void run_steps(memory_port<uint64_t> features, memory_port<WeightBeat<A>> weight_words, memory_port<uint64_t> residual,
               memory_port<uint64_t> descriptors, memory_port<uint64_t> results, uint32_t layer_table,
               uint32_t counters, uint32_t step_count, volatile const uint32_t* clock_layer,
               volatile const uint32_t* clock_accumulate, uint32_t* completed) {
    // Static: too large for a thread's stack. One run at a time.
    static HostMemories<A> own;
    fill_with_garbage(own.scratch, A::SCRATCH_WORDS);
    HostChannels<A> c;
    HostScratch<A> near(own.scratch, c.near_words, c.near_written);
    Place place = {layer_table, 0, counters, 0};
    isa::LayerDescriptor layer{};
    uint32_t outstanding = 0;
    Totals sum{};
    StoreState state = {0, 0, *clock_layer};
    for (uint32_t left = step_count; left != 0 && !host_is_late(); --left) {
        read_step<A>(descriptors, left == 1, place, layer, c.hold_jobs, c.held_fetches, c.planes, c.fill_jobs,
                     c.walk_jobs, c.weight_jobs, c.assemble_jobs, c.accumulate_jobs, c.pattern_words,
                     c.requantise_jobs, c.table_words_before, c.held_residuals, c.combine_jobs, c.table_words_after,
                     c.store_jobs, c.collect_jobs);
        hold_load(c.hold_jobs, c.completions, c.held_fetches, c.held_residuals, c.fetch_jobs, c.residual_jobs,
                  outstanding);
        fetch_input(features, c.fetch_jobs, c.planes, near, c.near_words, c.input_words, c.fetch_counts);
        fill_bank<A>(c.fill_jobs, c.input_words, c.bank);
        walk_tile<A>(c.walk_jobs, c.walk);
        read_weight_words<A>(weight_words, c.weight_jobs, c.weight_beats, c.weight_counts);
        assemble_step<A>(c.assemble_jobs, c.weight_beats, c.blocks, c.taps, c.tap_weights, c.scales, c.residual_emits,
                         c.combine_emits, c.store_emits);
        accumulate_step<A, Dot>(c.accumulate_jobs, c.blocks, c.taps, c.tap_weights, c.bank, c.walk, c.pattern_words,
                                clock_accumulate, c.sums, c.accumulate_counts, own.acc, own.patterns, own.cells);
        requantise_step<A>(c.requantise_jobs, c.scales, c.sums, c.table_words_before, c.words, own.table_before);
        fetch_residual<A>(residual, c.residual_jobs, c.residual_emits, c.residual_words, c.residual_counts);
        combine_step<A>(c.combine_jobs, c.combine_emits, c.words, c.residual_words, c.table_words_after,
                        c.output_words, own.table_after);
        collect_step(c.collect_jobs, c.accumulate_counts, c.fetch_counts, c.weight_counts, c.residual_counts, c.totals,
                     sum);
        store_step(results, c.store_jobs, c.store_emits, c.output_words, c.totals, clock_layer, near, c.near_written,
                   c.completions, c.receipts, state);
        confirm_step(c.receipts, completed);
    }
    see_completions(c.completions, outstanding);
    host_stream_faults() += host_left_over(features) + host_left_over(weight_words) + host_left_over(residual) +
                            host_left_over(descriptors) + host_left_over(results);
}
