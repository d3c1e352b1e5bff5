// Host only: what the engine's own memory holds before a run. Hardware leaves anything there; these words show in a
// result that should not have read them.
#pragma once

#include <cstdint>

inline void fill_with_garbage(uint64_t* words, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        words[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15); // no two words alike, and no byte of them constant
    }
}
