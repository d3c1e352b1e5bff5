// Host only: the same sums without packing, in an order that a host's vector unit likes. A test compares it with dot.hpp.
#pragma once

#include "types.hpp"

template <typename A>
struct PlainDot {
    int32_t weight[A::IC][A::OC];

    void load(const Weights<A>& values) {
        for (uint32_t l = 0; l < A::IC; ++l) {
            for (uint32_t o = 0; o < A::OC; ++o) {
                weight[l][o] = values.lane[o][l];
            }
        }
    }

    void apply(const int8_t x[A::PX][A::IC], int32_t sum[A::PX][A::OC]) const {
        for (uint32_t j = 0; j < A::PX; ++j) {
            int32_t lane[A::OC] = {};
            for (uint32_t l = 0; l < A::IC; ++l) {
                for (uint32_t o = 0; o < A::OC; ++o) {
                    lane[o] += weight[l][o] * x[j][l];
                }
            }
            for (uint32_t o = 0; o < A::OC; ++o) {
                sum[j][o] = lane[o];
            }
        }
    }
};
