// Host only: the engine's own memory. It answers at once, so it takes the place of the streams that lead to it.
#pragma once

#include <cstdint>

#include "scratch.hpp"

// What it holds before a run. Hardware leaves anything there; these words show in a result that should not have read
// them: no two are alike, and no byte of them is constant.
inline void fill_with_garbage(uint64_t* words, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        words[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    }
}

template <typename A>
class HostScratch {
  public:
    HostScratch(uint64_t* memory, stream<uint64_t>& words, stream<bool>& written)
        : memory_(memory), words_(words), written_(written) {}

    void write(const ScratchRead& read) {
        for (uint32_t i = 0; i < read.length; ++i) {
            words_.write(memory_[(read.address + i) & (A::SCRATCH_WORDS - 1)]);
        }
    }

    void write(const ScratchWrite& write) {
        if (write.kind == ScratchWriteKind::WORD) {
            memory_[write.address & (A::SCRATCH_WORDS - 1)] = write.word;
        } else if (write.kind == ScratchWriteKind::END_OF_STEP) {
            written_.write(true);
        }
    }

  private:
    uint64_t* memory_;
    stream<uint64_t>& words_;
    stream<bool>& written_;
};
