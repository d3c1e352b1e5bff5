// The lane patterns of a layer, four 16-bit offsets to a word.
#pragma once

#include <cstdint>

#include "hls.hpp"

template <typename A>
void receive_patterns(stream<uint64_t>& words, uint32_t count, uint16_t patterns[A::MAX_PATTERNS][A::IC]) {
    HLS_INLINE
entries:
    for (uint32_t p = 0; p < count; ++p) {
        HLS_TRIPCOUNT(0, ARRAY_MAX_PATTERNS, 4)
    words:
        for (uint32_t k = 0; k < A::PATTERN_WORDS; ++k) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(ARRAY_PATTERN_WORDS, ARRAY_PATTERN_WORDS, ARRAY_PATTERN_WORDS)
            const uint64_t word = words.read();
        quarters:
            for (uint32_t q = 0; q < 4; ++q) {
                HLS_UNROLL
                patterns[p & (A::MAX_PATTERNS - 1)][k * 4 + q] = (uint16_t)(word >> (16 * q));
            }
        }
    }
}
