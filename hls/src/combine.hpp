// Process: puts the words of a block in order of their groups, adds the residual operand, clamps.
#pragma once

#include "types.hpp"

inline int8_t add_residual(int8_t q, int8_t r, uint8_t shift_a, uint8_t shift_b, uint8_t shift_y) {
    HLS_INLINE
    const int32_t a = (int32_t)q * ((int32_t)1 << shift_a);
    HLS_FABRIC_MULTIPLY(a)
    const int32_t b = (int32_t)r * ((int32_t)1 << shift_b);
    HLS_FABRIC_MULTIPLY(b)
    const int32_t sum = a + b;
    return clip_to_code(shift_y == 0 ? sum : (int32_t)round_half_even(sum, shift_y));
}

template <typename A>
void combine(stream<CombineJob>& jobs, stream<Emit>& emits, stream<uint64_t> (&words)[A::OC_GROUPS],
             stream<uint64_t>& residual, stream<uint64_t>& results) {
    HLS_NOINLINE
    const CombineJob job = jobs.read();
blocks:
    for (uint32_t b = 0; b < job.emit_blocks; ++b) {
        HLS_TRIPCOUNT(0, 512, 8)
        const Emit emit = emits.read();
    groups:
        for (uint32_t g = 0; g < emit.groups; ++g) {
            HLS_TRIPCOUNT(1, ARRAY_OC_GROUPS, ARRAY_OC_GROUPS)
        pixels:
            for (uint32_t i = 0; i < job.pixels; ++i) {
                HLS_PIPELINE(1)
                HLS_TRIPCOUNT(0, 1024, 784)
                uint64_t word = 0, operand = 0, result = 0;
            receive:
                for (uint32_t n = 0; n < A::OC_GROUPS; ++n) {
                    HLS_UNROLL
                    if (n == (g & (A::OC_GROUPS - 1))) {
                        word = words[n].read();
                    }
                }
                if (job.add) {
                    operand = residual.read();
                }
            lanes:
                for (uint32_t k = 0; k < isa::GROUP; ++k) {
                    HLS_UNROLL
                    const int8_t q = (int8_t)(word >> (8 * k));
                    const int8_t r = (int8_t)(operand >> (8 * k));
                    const int8_t sum = job.add ? add_residual(q, r, job.shift_a, job.shift_b, job.shift_y) : q;
                    const int8_t code = job.relu && sum < 0 ? (int8_t)0 : sum;
                    result |= (uint64_t)(uint8_t)code << (8 * k);
                }
                results.write(result);
            }
        }
    }
}
