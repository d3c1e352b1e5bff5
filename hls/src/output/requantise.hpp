// Process: int32 sums to int8 codes, replaced by the table's where wanted, one word (a pixel's channel group) per cycle.
#pragma once

#include "output/lookup.hpp"
#include "types.hpp"

inline int8_t requantise_code(int32_t sum, uint16_t multiplier, bool max, bool relu) {
    HLS_INLINE
    // |sum| < 2^24 is the compiler's promise: 25 x 17 bits are one DSP, and 43 bits hold the product while it is rounded.
    const signed_bits<25> wide = sum;
    const signed_bits<17> factor = (int32_t)multiplier;
    const signed_bits<43> product = wide * factor;
    HLS_DSP_MULTIPLY(product)
    const signed_bits<43> rounded = round_half_even<signed_bits<43>>(product, 16);
    const int8_t code = max ? (int8_t)sum : clip_to_code((int32_t)rounded);
    return relu && code < 0 ? (int8_t)0 : code;
}

// One step.
template <typename A>
HLS_STEP bool requantise_step(stream<RequantiseJob>& jobs, stream<Scales<A>>& scales, stream<Sums<A>>& sums,
                              stream<uint64_t>& table_words, stream<uint64_t> (&words)[A::OC_GROUPS],
                              uint64_t table[isa::GROUP][TABLE_WORDS]) {
    HLS_INLINE
    const RequantiseJob job = jobs.read();
    if (job.new_table) {
        receive_table(table_words, table);
    }
blocks:
    for (uint32_t b = 0; b < job.emit_blocks; ++b) {
        HLS_TRIPCOUNT(0, 512, 8)
        const Scales<A> scale = scales.read();
        HLS_PARTITION(scale.multiplier, 1)
        Sums<A> beat{};
        HLS_PARTITION(beat.pixel, 0)
        const uint32_t count = job.pixels * scale.groups;
        HLS_FABRIC_MULTIPLY(count)
        uint32_t j = 0, g = 0;
    pixels:
        for (uint32_t i = 0; i < count; ++i) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(0, 2048, 784)
            if (j == 0 && g == 0) {
                beat = sums.read();
            }
            uint64_t word = 0;
        lanes:
            for (uint32_t k = 0; k < isa::GROUP; ++k) {
                HLS_UNROLL
                const uint32_t o = (g & (A::OC_GROUPS - 1)) * isa::GROUP + k;
                const int8_t code = requantise_code(beat.pixel[j][o], scale.multiplier[o], job.max, job.relu);
                const int8_t replaced = job.look_up ? look_up(table[k], code) : code;
                word |= (uint64_t)(uint8_t)replaced << (8 * k);
            }
        send:
            for (uint32_t n = 0; n < A::OC_GROUPS; ++n) {
                HLS_UNROLL
                if (n == (g & (A::OC_GROUPS - 1))) {
                    words[n].write(word);
                }
            }
            ++g;
            if (g == scale.groups) {
                g = 0;
                j = j + 1 == A::PX ? 0 : j + 1;
            }
        }
    }
    return !job.end;
}

// All steps of a run.
template <typename A>
void requantise(stream<RequantiseJob>& jobs, stream<Scales<A>>& scales, stream<Sums<A>>& sums,
                stream<uint64_t>& table_words, stream<uint64_t> (&words)[A::OC_GROUPS]) {
    HLS_NOINLINE
    uint64_t table[isa::GROUP][TABLE_WORDS];
    HLS_PARTITION(table, 1)
    HLS_RAM_SMALL(table)
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = requantise_step<A>(jobs, scales, sums, table_words, words, table);
    }
}
