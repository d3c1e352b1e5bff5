// Process: puts the words of a block in order of their groups, combines them with the residual operand, clamps, and
// replaces codes by the table's where wanted.
#pragma once

#include "output/lookup.hpp"
#include "types.hpp"

// The sum, difference or product of two codes, below 2^30 before it is rounded: 32 bits are enough for all of it.
inline int8_t combine_codes(int8_t q, int8_t r, const CombineJob& job) {
    HLS_INLINE
    const bool multiply = job.combine == isa::Combine::MULTIPLY;
    const int32_t product = (int32_t)q * (int32_t)r;
    HLS_FABRIC_MULTIPLY(product)
    const int32_t first = multiply ? product : (int32_t)q;
    const int32_t a = (int32_t)((uint32_t)first << job.shift_a);
    const int32_t b = (int32_t)((uint32_t)(int32_t)r << job.shift_b);
    const int32_t result = multiply ? a : job.subtract ? a - b : a + b;
    return clip_to_code(job.shift_y == 0 ? result : round_half_even<int32_t>(result, job.shift_y));
}

// One step.
template <typename A>
HLS_STEP bool combine_step(stream<CombineJob>& jobs, stream<Emit>& emits, stream<uint64_t> (&words)[A::OC_GROUPS],
                           stream<uint64_t>& residual, stream<uint64_t>& table_words, stream<uint64_t>& results,
                           uint64_t table[isa::GROUP][TABLE_WORDS]) {
    HLS_INLINE
    const CombineJob job = jobs.read();
    if (job.new_table) {
        receive_table(table_words, table);
    }
    const bool combines = job.combine != isa::Combine::NONE;
blocks:
    for (uint32_t b = 0; b < job.emit_blocks; ++b) {
        HLS_TRIPCOUNT(0, 512, 8)
        const Emit emit = emits.read();
    groups:
        for (uint32_t g = 0; g < emit.groups; ++g) {
            HLS_TRIPCOUNT(1, ARRAY_OC_GROUPS, ARRAY_OC_GROUPS)
            uint64_t operand = 0;
        pixels:
            for (uint32_t i = 0; i < job.pixels; ++i) {
                HLS_PIPELINE(1)
                HLS_TRIPCOUNT(0, 1024, 784)
                uint64_t word = 0, result = 0;
            receive:
                for (uint32_t n = 0; n < A::OC_GROUPS; ++n) {
                    HLS_UNROLL
                    if (n == (g & (A::OC_GROUPS - 1))) {
                        word = words[n].read();
                    }
                }
                if (combines && (i == 0 || !job.broadcast)) {
                    operand = residual.read();
                }
            lanes:
                for (uint32_t k = 0; k < isa::GROUP; ++k) {
                    HLS_UNROLL
                    const int8_t q = (int8_t)(word >> (8 * k));
                    const int8_t r = (int8_t)(operand >> (8 * k));
                    const int8_t combined = combines ? combine_codes(q, r, job) : q;
                    const int8_t code = job.relu && combined < 0 ? (int8_t)0 : combined;
                    const int8_t replaced = job.look_up ? look_up(table[k], code) : code;
                    result |= (uint64_t)(uint8_t)replaced << (8 * k);
                }
                results.write(result);
            }
        }
    }
    return !job.end;
}

// All steps of a run.
template <typename A>
void combine(stream<CombineJob>& jobs, stream<Emit>& emits, stream<uint64_t> (&words)[A::OC_GROUPS],
             stream<uint64_t>& residual, stream<uint64_t>& table_words, stream<uint64_t>& results) {
    HLS_NOINLINE
    uint64_t table[isa::GROUP][TABLE_WORDS];
    HLS_PARTITION(table, 1)
    HLS_RAM_SMALL(table)
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = combine_step<A>(jobs, emits, words, residual, table_words, results, table);
    }
}
