// The multipliers: two pixels share a DSP and a weight, and DSPs are chained.
//
// A DSP multiplies P = x1 * 2^SHIFT + (x0 + 128) by w: the sum of the two terms is plain wiring ({x1, zeros, x0 with
// its sign bit inverted}) and fits the wide port for every x0 and x1, which x1 * 2^SHIFT + x0 would not at x1 = -128.
// The chain starts from -128 * (sum of its weights), so that its end is exactly
//     (sum of x1 * w) * 2^SHIFT + (sum of x0 * w),
// and |sum of x0 * w| < 2^(SHIFT - 1) because w is in [-127, 127] and a chain has at most CHAIN products.
//
// A link is written as one multiplication and one addition of the widths of the DSP's ports, neither of which is bound
// by a pragma of its own: only then can a tool make one multiply-add of the two, whose addend is the link before.
#pragma once

#include "types.hpp"

template <typename A>
constexpr int32_t pack_pixels(int8_t x0, int8_t x1) {
    return (int32_t)((uint32_t)(int32_t)x1 << A::DSP_SHIFT) | (int32_t)((uint8_t)x0 ^ 0x80u);
}

// The two sums that the end of a chain carries. The upper bits are short of one where the lower sum is negative.
template <typename A>
int32_t lower_sum(signed_bits<48> chain) {
    return (int32_t)signed_bits<A::DSP_SHIFT>(chain);
}
template <typename A>
int32_t upper_sum(signed_bits<48> chain) {
    const signed_bits<A::DSP_SHIFT> upper = chain >> A::DSP_SHIFT;
    return (int32_t)upper + (lower_sum<A>(chain) < 0 ? 1 : 0);
}

template <typename A>
struct PackedDot {
    static_assert(A::PX == 2, "two pixels share a multiplier, and a bank has two read ports");
    static_assert(A::IC % A::DSP_CHAIN == 0, "the lanes are a whole number of chains");
    static constexpr uint32_t CHAINS = A::IC / A::DSP_CHAIN;

    int8_t weight[A::OC][A::IC];
    int32_t start[A::OC][CHAINS];

    void load(const Weights<A>& values) {
        HLS_INLINE
    outputs:
        for (uint32_t o = 0; o < A::OC; ++o) {
            HLS_UNROLL
        chains:
            for (uint32_t c = 0; c < CHAINS; ++c) {
                HLS_UNROLL
                int32_t total = 0;
            links:
                for (uint32_t k = 0; k < A::DSP_CHAIN; ++k) {
                    HLS_UNROLL
                    const int8_t w = values.lane[o][c * A::DSP_CHAIN + k];
                    weight[o][c * A::DSP_CHAIN + k] = w;
                    total += w;
                }
                start[o][c] = -(total * 128);
            }
        }
    }

    // sum[j][o] = sum over l of weight[o][l] * x[j][l]
    void apply(const int8_t x[A::PX][A::IC], int32_t sum[A::PX][A::OC]) const {
        HLS_INLINE
    outputs:
        for (uint32_t o = 0; o < A::OC; ++o) {
            HLS_UNROLL
            int32_t sum0 = 0, sum1 = 0;
        chains:
            for (uint32_t c = 0; c < CHAINS; ++c) {
                HLS_UNROLL
                signed_bits<48> chain = start[o][c];
            links:
                for (uint32_t k = 0; k < A::DSP_CHAIN; ++k) {
                    HLS_UNROLL
                    const uint32_t l = c * A::DSP_CHAIN + k;
                    const signed_bits<A::DSP_PORT_BITS> pixels = pack_pixels<A>(x[0][l], x[1][l]);
                    const signed_bits<8> factor = weight[o][l];
                    chain = pixels * factor + chain;
                }
                sum0 += lower_sum<A>(chain);
                sum1 += upper_sum<A>(chain);
            }
            sum[0][o] = sum0;
            sum[1][o] = sum1;
        }
    }
};
