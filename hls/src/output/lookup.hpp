// The layer's table of codes. A lane reads at any of 256 places in each cycle, so every lane of a word has a copy, and
// both processes that may look codes up have tables of their own. A copy is 32 words: it is filled in 32 cycles.
#pragma once

#include <cstdint>

#include "hls.hpp"
#include "isa.hpp"

constexpr uint32_t TABLE_WORDS = 256 / isa::WORD_BYTES;

inline void receive_table(stream<uint64_t>& words, uint64_t table[isa::GROUP][TABLE_WORDS]) {
    HLS_INLINE
words:
    for (uint32_t i = 0; i < TABLE_WORDS; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(32, 32, 32)
        const uint64_t word = words.read();
    copies:
        for (uint32_t k = 0; k < isa::GROUP; ++k) {
            HLS_UNROLL
            table[k][i] = word;
        }
    }
}

// Entry q mod 256.
inline int8_t look_up(const uint64_t table[TABLE_WORDS], int8_t q) {
    HLS_INLINE
    const uint8_t entry = (uint8_t)q;
    return (int8_t)(table[entry / isa::WORD_BYTES] >> (entry % isa::WORD_BYTES * 8));
}
