// Process: writes the output words: bursts of neighbours, or word by word where pixels lie apart, or to the engine's
// own memory; and, after a layer's last step, the layer's counters. It says that a step is complete when all its writes
// have been answered.
#pragma once

#include "ports.hpp"
#include "scratch.hpp"
#include "types.hpp"

// Waits until no more than `allowed` of the `unanswered` bursts have no answer yet.
inline void await_answers(memory_port<uint64_t>& results, uint32_t& unanswered, uint32_t allowed) {
    HLS_INLINE
answers:
    for (uint32_t left = unanswered; left > allowed; --left) {
        HLS_TRIPCOUNT(0, 8, 1)
        results.write_response();
        --unanswered;
    }
}

inline void write_counters(memory_port<uint64_t>& results, uint32_t& unanswered, uint32_t address,
                           const Totals& totals, uint32_t stored, uint32_t cycles) {
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
        HLS_TRIPCOUNT(4, 4, 4)
        await_answers(results, unanswered, OUTSTANDING_WRITES - 1);
        results.write_request(address + i, 1);
        results.write(counts.word[i]);
        ++unanswered;
    }
}

// Runs of neighbours, as bursts.
inline void store_runs(memory_port<uint64_t>& results, uint32_t& unanswered, uint32_t start, const Bursts& bursts,
                       stream<uint64_t>& words) {
    HLS_INLINE
runs:
    for (uint32_t run = 0; run < bursts.runs; ++run) {
        HLS_TRIPCOUNT(0, 1024, 14)
        uint32_t address = start, beats = 0;
    bursts:
        for (uint32_t left = bursts.length; left != 0; left -= beats) {
            HLS_TRIPCOUNT(0, 17, 1)
            beats = burst_beats<uint64_t>(address, left);
            await_answers(results, unanswered, OUTSTANDING_WRITES - 1);
            results.write_request(address, beats);
            ++unanswered;
        words:
            for (uint32_t i = 0; i < beats; ++i) {
                HLS_PIPELINE(1)
                HLS_TRIPCOUNT(1, 64, 56)
                results.write(words.read());
            }
            address += beats;
        }
        start += bursts.pitch;
    }
}

// Pixels apart, each a transfer of its own; the answer to one is taken as another is sent.
inline void store_singles(memory_port<uint64_t>& results, uint32_t& unanswered, uint32_t start, const Bursts& bursts,
                          uint8_t step, uint32_t pixels, stream<uint64_t>& words) {
    HLS_INLINE
    await_answers(results, unanswered, 0);
    uint32_t row = start, apart = start, col = 0;
singles:
    for (uint32_t i = 0; i < pixels; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 1024, 392)
        if (i >= OUTSTANDING_WRITES) {
            results.write_response();
        }
        results.write_request(apart, 1);
        results.write(words.read());
        apart += step;
        ++col;
        if (col == bursts.length) {
            col = 0;
            row += bursts.pitch;
            apart = row;
        }
    }
    unanswered = smallest(pixels, OUTSTANDING_WRITES);
}

// To the engine's own memory, one word per cycle wherever it lies.
template <typename Writes>
void store_near(Writes& near_writes, uint32_t start, const Bursts& bursts, uint8_t step, uint32_t pixels,
                stream<uint64_t>& words) {
    HLS_INLINE
    uint32_t row = start, apart = start, col = 0;
near:
    for (uint32_t i = 0; i < pixels; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 1024, 784)
        near_writes.write(ScratchWrite{words.read(), apart, ScratchWriteKind::WORD});
        apart += step;
        ++col;
        if (col == bursts.length) {
            col = 0;
            row += bursts.pitch;
            apart = row;
        }
    }
}

// What the process knows from the steps before.
struct StoreState {
    uint32_t completed; // steps of the run
    uint32_t stored;    // words of this layer
    uint32_t since;     // the clock when the layer before ended, or the run began
};

// One step. The streams of the engine's own memory may be whatever serves them.
template <typename Writes, typename Answers>
HLS_STEP bool store_step(memory_port<uint64_t>& results, stream<StoreJob>& jobs, stream<Emit>& emits,
                         stream<uint64_t>& words, stream<Totals>& totals, volatile const uint32_t* clock,
                         Writes& near_writes, Answers& near_written, stream<bool>& completions,
                         stream<Receipt>& receipts, StoreState& state) {
    HLS_INLINE
    const StoreJob job = jobs.read();
    uint32_t count = job.first ? 0u : state.stored;
    uint32_t unanswered = 0;
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
            if (job.on_chip) {
                store_near(near_writes, start, job.bursts, job.step, job.pixels, words);
            } else if (job.step == 1) {
                store_runs(results, unanswered, start, job.bursts, words);
            } else {
                store_singles(results, unanswered, start, job.bursts, job.step, job.pixels, words);
            }
            count += job.pixels;
            start += job.out_plane;
        }
    }
    if (job.on_chip) {
        near_writes.write(ScratchWrite{0, 0, ScratchWriteKind::END_OF_STEP});
        near_written.read();
    }
    if (job.last) {
        // The clock is read when the layer's words have arrived.
        await_answers(results, unanswered, 0);
        const uint32_t now = *clock;
        write_counters(results, unanswered, job.counters, totals.read(), count, now - state.since);
        state.since = now;
    }
    await_answers(results, unanswered, 0);
    state.stored = count;
    ++state.completed;
    completions.write(true);
    receipts.write(Receipt{state.completed, job.end});
    return !job.end;
}

// All steps of a run. All processes start together, so the clock tells when the run began.
inline void store(memory_port<uint64_t> results, stream<StoreJob>& jobs, stream<Emit>& emits, stream<uint64_t>& words,
                  stream<Totals>& totals, volatile const uint32_t* clock, stream<ScratchWrite>& near_writes,
                  stream<bool>& near_written, stream<bool>& completions, stream<Receipt>& receipts) {
    HLS_NOINLINE
    StoreState state = {0, 0, *clock};
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = store_step(results, jobs, emits, words, totals, clock, near_writes, near_written, completions, receipts,
                          state);
    }
    near_writes.write(ScratchWrite{0, 0, ScratchWriteKind::END_OF_RUN});
}
