// Process: the array. One loop of `iterations` trips, one beat of one tap per cycle.
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

template <typename A, typename Dot>
void accumulate(stream<AccumulateJob>& jobs, stream<Block<A>>& blocks, stream<Tap>& taps, stream<Weights<A>>& weights,
                const int8_t bank[A::IC][A::BANK_DEPTH], const uint16_t walk[A::ACC_DEPTH][A::PX],
                stream<uint64_t>& pattern_words, volatile const uint32_t* clock,
                stream<Sums<A>>& sums, stream<AccumulateCount>& counts) {
    HLS_NOINLINE
    static_assert((A::BANK_DEPTH & (A::BANK_DEPTH - 1)) == 0 && (A::ACC_DEPTH & (A::ACC_DEPTH - 1)) == 0 &&
                      (A::MAX_PATTERNS & (A::MAX_PATTERNS - 1)) == 0,
                  "addresses are cut to the memories' widths");
    // Sums live on from one block and one step to the next.
    static int32_t acc[A::ACC_DEPTH][A::PX][A::OC];
    HLS_PARTITION(acc, 2)
    HLS_PARTITION(acc, 3)
    HLS_RAM_READ_WRITE(acc)
    // A layer's patterns come with its first step.
    static uint16_t patterns[A::MAX_PATTERNS][A::IC];
    HLS_PARTITION(patterns, 2)
    HLS_RAM_SMALL(patterns)

    const AccumulateJob job = jobs.read();
    receive_patterns<A>(pattern_words, job.pattern_count, patterns);
    const uint32_t started = *clock;
    Block<A> block{};
    HLS_PARTITION(block.bias, 1)
    Dot dot{};
    HLS_PARTITION(dot.weight, 0)
    HLS_PARTITION(dot.start, 0)
    uint16_t offset[A::IC] = {};
    HLS_PARTITION(offset, 1)
    uint32_t tap_count = 0;
    uint16_t beat = 0, taps_left = 0;
    bool first = false;
beats:
    for (uint32_t i = 0; i < job.iterations; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 16777216, 65536)
        // An entry is touched again one tap later, and a tap has at least MIN_BEATS beats.
        HLS_DISTANCE(acc, ARRAY_MIN_BEATS)
        if (beat == 0) {
            first = taps_left == 0;
            if (first) {
                block = blocks.read();
                taps_left = block.taps;
            }
            const Tap tap = taps.read();
            if (!tap.reuse) {
                dot.load(weights.read());
            }
        lanes:
            for (uint32_t l = 0; l < A::IC; ++l) {
                HLS_UNROLL
                offset[l] = (uint16_t)(tap.base + patterns[tap.pattern & (A::MAX_PATTERNS - 1)][l]);
            }
            --taps_left;
            ++tap_count;
        }

        int8_t x[A::PX][A::IC];
        HLS_PARTITION(x, 0)
    read_pixels:
        for (uint32_t j = 0; j < A::PX; ++j) {
            HLS_UNROLL
            const uint16_t pixel = walk[beat & (A::ACC_DEPTH - 1)][j];
        read_lanes:
            for (uint32_t l = 0; l < A::IC; ++l) {
                HLS_UNROLL
                x[j][l] = bank[l][(uint32_t)(pixel + offset[l]) & (A::BANK_DEPTH - 1)];
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
        const bool fresh = first && block.init;
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
        if (taps_left == 0 && block.emit && beat < job.real_beats) {
            sums.write(out);
        }
        ++beat;
        if (beat == job.beats) {
            beat = 0;
        }
    }
    counts.write(AccumulateCount{job.iterations, tap_count, *clock - started});
}
