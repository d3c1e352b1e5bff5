// The packed multipliers against plain products, and rounding against its definition.
#include <cmath>
#include <random>

#include "dot.hpp"
#include "host_dot.hpp"
#include "output/requantise.hpp"
#include "tb.hpp"

using Codes = int8_t[Array::PX][Array::IC];
using Parts = int32_t[Array::PX][Array::OC];

static uint32_t compare(const Weights<Array>& weights, const Codes& x) {
    PackedDot<Array> packed{};
    PlainDot<Array> plain{};
    packed.load(weights);
    plain.load(weights);
    Parts a, b;
    packed.apply(x, a);
    plain.apply(x, b);
    uint32_t differences = 0;
    for (uint32_t j = 0; j < Array::PX; ++j) {
        for (uint32_t o = 0; o < Array::OC; ++o) {
            differences += a[j][o] != b[j][o];
        }
    }
    return differences;
}

// Every pair of codes fits the wide port, and with every weight gives both products: 2^16 pairs x 255 weights.
uint32_t test_packed_products() {
    uint32_t differences = 0;
    for (int32_t x1 = -128; x1 < 128; ++x1) {
        for (int32_t x0 = -128; x0 < 128; ++x0) {
            const int64_t packed = pack_pixels<Array>((int8_t)x0, (int8_t)x1);
            differences += (int64_t)signed_bits<Array::DSP_PORT_BITS>(packed) != packed;
            for (int32_t w = -127; w < 128; ++w) {
                const signed_bits<48> chain = packed * w - w * 128;
                differences += lower_sum<Array>(chain) != x0 * w || upper_sum<Array>(chain) != x1 * w;
            }
        }
    }
    return differences;
}

// Chains at their extremes in every combination of signs, then random ones.
uint32_t test_packed_chains() {
    uint32_t differences = 0;
    const int8_t codes[4] = {-128, 127, 0, -1};
    const int8_t values[3] = {-127, 127, 1};
    for (uint32_t c = 0; c < 16; ++c) {
        for (uint32_t v = 0; v < 9; ++v) {
            Weights<Array> weights;
            Codes x;
            for (uint32_t l = 0; l < Array::IC; ++l) {
                x[0][l] = codes[c % 4];
                x[1][l] = codes[c / 4];
                for (uint32_t o = 0; o < Array::OC; ++o) {
                    weights.lane[o][l] = values[(o + l) % 2 == 0 ? v % 3 : v / 3];
                }
            }
            differences += compare(weights, x);
        }
    }
    std::mt19937 random(1);
    std::uniform_int_distribution<int32_t> code(-128, 127), weight(-127, 127);
    for (uint32_t n = 0; n < 20000; ++n) {
        Weights<Array> weights;
        Codes x;
        for (uint32_t l = 0; l < Array::IC; ++l) {
            x[0][l] = (int8_t)code(random);
            x[1][l] = (int8_t)code(random);
            for (uint32_t o = 0; o < Array::OC; ++o) {
                weights.lane[o][l] = (int8_t)weight(random);
            }
        }
        differences += compare(weights, x);
    }
    return differences;
}

// round_half_even and the requantiser against nearbyint, whose default mode rounds ties to even.
uint32_t test_rounding() {
    uint32_t differences = 0;
    for (uint32_t shift = 1; shift < 16; ++shift) {
        for (int64_t v = -70000; v <= 70000; ++v) {
            differences += round_half_even<int64_t>(v, shift) != (int64_t)std::nearbyint((double)v / (double)(1 << shift));
        }
    }
    std::mt19937 random(2);
    std::uniform_int_distribution<int32_t> sum(-(1 << 24) + 1, (1 << 24) - 1), factor(1, 32767);
    for (uint32_t n = 0; n < 1000000; ++n) {
        const int32_t s = sum(random) >> (n % 24);
        const uint16_t m = (uint16_t)factor(random);
        const double exact = std::nearbyint((double)s * m / 65536.0);
        const double clipped = exact > 127 ? 127 : exact < -128 ? -128 : exact;
        differences += requantise_code(s, m, false, false) != (int8_t)clipped;
    }
    return differences;
}
