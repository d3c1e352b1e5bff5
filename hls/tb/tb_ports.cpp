// Requests to memory: what is asked for is what comes, cut as a port wants it, from every place within a page; and the
// engine's own memory, which answers reads and writes side by side.
#include <vector>

#include "ports.hpp"
#include "scratch.hpp"
#include "tb.hpp"

// Words from every address around the end of a page, in every length up to three bursts.
uint32_t test_requests() {
    constexpr uint32_t PAGE = PAGE_BYTES / 8;
    std::vector<uint64_t> memory(3 * PAGE);
    for (uint32_t i = 0; i < memory.size(); ++i) memory[i] = i * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t differences = 0;
    for (uint32_t address = PAGE - 2 * BURST_BEATS; address <= PAGE + 1; ++address) {
        for (uint32_t count = 0; count <= 3 * BURST_BEATS; ++count) {
            uint32_t beats = 0;
            for (uint32_t at = address, left = count; left != 0; at += beats, left -= beats) {
                beats = burst_beats<uint64_t>(at, left);
                differences += beats == 0 || beats > BURST_BEATS || at / PAGE != (at + beats - 1) / PAGE;
            }
            memory_port<uint64_t> port(memory.data());
            stream<uint64_t> words;
            pass_on(port, address, count, words);
            for (uint32_t i = 0; i < count; ++i) differences += words.read() != memory[address + i];
            differences += !words.empty();
        }
    }
    return differences;
}

// What a step wrote is there after its answer, and every write is answered once.
uint32_t test_scratch() {
    constexpr uint32_t WORDS = 100, AT = Array::SCRATCH_WORDS - WORDS;
    stream<ScratchRead> reads;
    stream<ScratchWrite> writes;
    stream<uint64_t> words;
    stream<bool> written;
    // One entry of each queue is served in a cycle; the reads that matter come behind as many as there are writes.
    for (uint32_t i = 0; i < WORDS; ++i) {
        writes.write(ScratchWrite{i * 3 + 1, AT + i, ScratchWriteKind::WORD});
        reads.write(ScratchRead{0, 1});
    }
    writes.write(ScratchWrite{0, 0, ScratchWriteKind::END_OF_STEP});
    writes.write(ScratchWrite{0, 0, ScratchWriteKind::END_OF_RUN});
    reads.write(ScratchRead{AT, WORDS});
    reads.write(ScratchRead{0, 0});
    keep_scratch<Array>(reads, writes, words, written);
    uint32_t differences = !written.read() || !written.empty() || !reads.empty() || !writes.empty();
    for (uint32_t i = 0; i < WORDS; ++i) words.read();
    for (uint32_t i = 0; i < WORDS; ++i) differences += words.read() != i * 3 + 1;
    return differences + !words.empty();
}
