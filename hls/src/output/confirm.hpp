// Process: says that a step is complete. It starts when `store` has ended, which is after the last of its writes was
// acknowledged; a stream written by `store` itself would promise no more than that the writes were issued.
#pragma once

#include "types.hpp"

// One entry would do; a memory that small might be made of registers, which are handed over as soon as they are set.
constexpr uint32_t RECEIPT_WORDS = 8;

inline void confirm(const uint32_t receipt[RECEIPT_WORDS], stream<bool>& completions, uint32_t* completed) {
    HLS_NOINLINE
    *completed = receipt[0];
    completions.write(true);
}
