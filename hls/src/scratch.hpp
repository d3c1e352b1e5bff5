// Process: the engine's own memory, for planes that stay on chip. It alone touches that memory; `fetch_input` asks it
// for words, `store` sends it words, both at any time.
//
// A step's words are there before another step asks for them: `store` says that the step is complete when this process
// has said that it has written all of it, and that is what the step that reads waits for (hold_loads.hpp).
#pragma once

#include "types.hpp"

// `length` words from `address` on. 0: no request follows.
struct ScratchRead {
    uint32_t address;
    uint8_t length;
};

enum class ScratchWriteKind : uint8_t { WORD, END_OF_STEP, END_OF_RUN };

struct ScratchWrite {
    uint64_t word;
    uint32_t address;
    ScratchWriteKind kind;
};

// It never blocks: what is asked for has room in `words` (fetch_input has no more than AHEAD bursts on their way, and
// the queue is longer), and `store` waits for each answer. If it did, a store could wait for a load that waits for it.
template <typename A>
void keep_scratch(stream<ScratchRead>& reads, stream<ScratchWrite>& writes, stream<uint64_t>& words,
                  stream<bool>& written) {
    HLS_NOINLINE
    static_assert((A::SCRATCH_WORDS & (A::SCRATCH_WORDS - 1)) == 0, "addresses are cut to its width");
    static_assert(A::STREAM_FIFO > AHEAD * BURST_BEATS, "the queue of words holds all that may be asked for");
    uint64_t scratch[A::SCRATCH_WORDS];
    HLS_RAM_READ_WRITE(scratch)
    uint32_t address = 0;
    uint8_t left = 0;
    bool reading = true, writing = true;
serve:
    for (bool busy = true; busy; busy = reading || writing || left != 0) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(1, 16777216, 65536)
        // A word that was just written is not asked for before its step is complete.
        HLS_INDEPENDENT(scratch)
        if (!writes.empty()) {
            const ScratchWrite write = writes.read();
            if (write.kind == ScratchWriteKind::WORD) {
                scratch[write.address & (A::SCRATCH_WORDS - 1)] = write.word;
            } else if (write.kind == ScratchWriteKind::END_OF_STEP) {
                written.write(true);
            } else {
                writing = false;
            }
        }
        if (left != 0) {
            words.write(scratch[address & (A::SCRATCH_WORDS - 1)]);
            ++address;
            --left;
        } else if (!reads.empty()) {
            const ScratchRead read = reads.read();
            address = read.address;
            left = read.length;
            reading = read.length != 0;
        }
    }
}
