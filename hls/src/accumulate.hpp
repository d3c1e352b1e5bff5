// Process: the array. In each step one loop of `iterations` trips, one beat of one tap per cycle.
#pragma once

#include "receive_patterns.hpp"
#include "types.hpp"

// Maximum of the codes of the lanes l with l mod OC = o.
template <typename A>
void lane_maxima(const int8_t x[A::PX][A::IC], int32_t best[A::PX][A::OC]) {
    HLS_INLINE
pixels:
    for (uint32_t j = 0; j < A::PX; ++j) {
        HLS_UNROLL
    outputs:
        for (uint32_t o = 0; o < A::OC; ++o) {
            HLS_UNROLL
            int8_t top = x[j][o];
        lanes:
            for (uint32_t l = o + A::OC; l < A::IC; l += A::OC) {
                HLS_UNROLL
                top = x[j][l] > top ? x[j][l] : top;
            }
            best[j][o] = top;
        }
    }
}

// One step. What it is given besides channels lives on from one block and one step to the next.
template <typename A, typename Dot>
HLS_STEP bool accumulate_step(stream<AccumulateJob>& jobs, stream<Block<A>>& blocks, stream<Tap>& taps,
                              stream<Weights<A>>& weights, block_stream<Bank<A>>& banks, stream<Pixels<A>>& walk,
                              stream<uint64_t>& pattern_words, volatile const uint32_t* clock, stream<Sums<A>>& sums,
                              stream<AccumulateCount>& counts, int32_t acc[A::ACC_DEPTH][A::PX][A::OC],
                              uint16_t patterns[A::MAX_PATTERNS][A::IC], uint16_t cells[A::ACC_DEPTH][A::PX]) {
    HLS_INLINE
    const AccumulateJob job = jobs.read();
    // A layer's patterns come with its first step.
    receive_patterns<A>(pattern_words, job.pattern_count, patterns);
    read_block<Bank<A>> bank(banks);
    const uint32_t started = *clock;
    Block<A> block{};
    HLS_PARTITION(block.bias, 1)
    Dot dot{};
    HLS_PARTITION(dot.weight, 0)
    HLS_PARTITION(dot.start, 0)
    Tap tap{};
    uint16_t offset[A::IC] = {};
    HLS_PARTITION(offset, 1)
    uint32_t tap_count = 0;
    uint16_t beat = 0;
    // What the trips depend on from one to the next is this counter and these two flags, each known a cycle ahead.
    bool tap_begins = true, walking = true;
beats:
    for (uint32_t i = 0; i < job.iterations; ++i) {
        HLS_PIPELINE_FREE(1)
        HLS_TRIPCOUNT(0, 16777216, 65536)
        // An entry is touched again one tap later, and a tap has at least MIN_BEATS beats.
        HLS_DISTANCE(acc, ARRAY_MIN_BEATS)
        HLS_DISTANCE(cells, ARRAY_MIN_BEATS)
        if (tap_begins) {
            tap = taps.read();
            if (tap.first) {
                block = blocks.read();
            }
            if (!tap.reuse) {
                dot.load(weights.read());
            }
        lanes:
            for (uint32_t l = 0; l < A::IC; ++l) {
                HLS_UNROLL
                offset[l] = (uint16_t)(tap.base + patterns[tap.pattern & (A::MAX_PATTERNS - 1)][l]);
            }
            ++tap_count;
        }

        // The step's first tap gets the pixels' cells and keeps them for the others.
        Pixels<A> pixel{};
        HLS_PARTITION(pixel.cell, 1)
        if (walking) {
            pixel = walk.read();
        }
        int8_t x[A::PX][A::IC];
        HLS_PARTITION(x, 0)
    read_pixels:
        for (uint32_t j = 0; j < A::PX; ++j) {
            HLS_UNROLL
            uint16_t cell = pixel.cell[j];
            if (walking) {
                cells[beat & (A::ACC_DEPTH - 1)][j] = cell;
            } else {
                cell = cells[beat & (A::ACC_DEPTH - 1)][j];
            }
        read_lanes:
            for (uint32_t l = 0; l < A::IC; ++l) {
                HLS_UNROLL
                x[j][l] = bank[l][(uint32_t)(cell + offset[l]) & (A::BANK_DEPTH - 1)];
            }
        }

        int32_t part[A::PX][A::OC];
        HLS_PARTITION(part, 0)
        if (job.max) {
            lane_maxima<A>(x, part);
        } else {
            dot.apply(x, part);
        }

        const uint32_t entry = (block.first_entry + beat) & (A::ACC_DEPTH - 1);
        const bool fresh = tap.first && block.init;
        Sums<A> out;
        HLS_PARTITION(out.pixel, 0)
    add_pixels:
        for (uint32_t j = 0; j < A::PX; ++j) {
            HLS_UNROLL
        add_outputs:
            for (uint32_t o = 0; o < A::OC; ++o) {
                HLS_UNROLL
                const int32_t start = job.max ? (int32_t)-128 : block.bias[o];
                const int32_t old = fresh ? start : acc[entry][j][o];
                const int32_t largest = part[j][o] > old ? part[j][o] : old;
                const int32_t result = job.max ? largest : (int32_t)((uint32_t)old + (uint32_t)part[j][o]);
                acc[entry][j][o] = result;
                out.pixel[j][o] = result;
            }
        }
        if (tap.last && block.emit && beat < job.real_beats) {
            sums.write(out);
        }
        tap_begins = beat == job.last_beat;
        walking = walking && !tap_begins;
        beat = tap_begins ? (uint16_t)0 : (uint16_t)(beat + 1);
    }
    counts.write(AccumulateCount{job.iterations, tap_count, *clock - started});
    return !job.end;
}

// All steps of a run.
template <typename A, typename Dot>
void accumulate(stream<AccumulateJob>& jobs, stream<Block<A>>& blocks, stream<Tap>& taps, stream<Weights<A>>& weights,
                block_stream<Bank<A>>& banks, stream<Pixels<A>>& walk, stream<uint64_t>& pattern_words,
                volatile const uint32_t* clock, stream<Sums<A>>& sums, stream<AccumulateCount>& counts) {
    HLS_NOINLINE
    static_assert((A::BANK_DEPTH & (A::BANK_DEPTH - 1)) == 0 && (A::ACC_DEPTH & (A::ACC_DEPTH - 1)) == 0 &&
                      (A::MAX_PATTERNS & (A::MAX_PATTERNS - 1)) == 0,
                  "addresses are cut to the memories' widths");
    int32_t acc[A::ACC_DEPTH][A::PX][A::OC];
    HLS_PARTITION(acc, 2)
    HLS_PARTITION(acc, 3)
    HLS_RAM_READ_WRITE(acc)
    uint16_t patterns[A::MAX_PATTERNS][A::IC];
    HLS_PARTITION(patterns, 2)
    HLS_RAM_SMALL(patterns)
    uint16_t cells[A::ACC_DEPTH][A::PX];
    HLS_PARTITION(cells, 2)
    HLS_RAM_READ_WRITE(cells)
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = accumulate_step<A, Dot>(jobs, blocks, taps, weights, banks, walk, pattern_words, clock, sums, counts,
                                       acc, patterns, cells);
    }
}
