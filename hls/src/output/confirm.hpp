// Process: sets the register of completed steps. It is the last process of the region, and nothing follows from it.
#pragma once

#include "types.hpp"

// One step.
HLS_STEP inline bool confirm_step(stream<Receipt>& receipts, uint32_t* completed) {
    HLS_INLINE
    const Receipt receipt = receipts.read();
    *completed = receipt.completed;
    return !receipt.end;
}

// All steps of a run.
inline void confirm(stream<Receipt>& receipts, uint32_t* completed) {
    HLS_NOINLINE
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = confirm_step(receipts, completed);
    }
}
