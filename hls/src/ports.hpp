// Requests to a port of memory: cut to what an AXI burst may be, and several on their way at once.
#pragma once

#include "hls.hpp"

constexpr uint32_t BURST_BEATS = 64; // max_read_burst_length and max_write_burst_length of the ports
constexpr uint32_t PAGE_BYTES = 4096; // an AXI burst may not cross such a border; the buffer begins at one
// Bursts asked for and not taken yet. Half of what the ports keep outstanding: enough to hide the latency of DDR.
constexpr uint32_t AHEAD = 4;
constexpr uint32_t OUTSTANDING_WRITES = 8; // num_write_outstanding of the port

constexpr uint32_t smallest(uint32_t a, uint32_t b) { return a < b ? a : b; }

// Beats of the next burst at beat `address` when `left` are wanted.
template <typename Word>
constexpr uint32_t burst_beats(uint32_t address, uint32_t left) {
    constexpr uint32_t PAGE = PAGE_BYTES / (uint32_t)sizeof(Word);
    return smallest(smallest(left, BURST_BEATS), PAGE - (address & (PAGE - 1)));
}

// The bursts of one stretch of memory, one after the other.
template <typename Word>
struct Stretch {
    uint32_t address, left;

    // Beats of the burst that was asked for; 0 when none is left.
    uint32_t request(memory_port<Word>& port) {
        HLS_INLINE
        const uint32_t beats = burst_beats<Word>(address, left);
        if (beats != 0) {
            port.read_request(address, beats);
        }
        address += beats;
        left -= beats;
        return beats;
    }
};

// The words of one burst.
template <typename Word, typename T>
void take_words(memory_port<Word>& port, uint32_t beats, stream<T>& words) {
    HLS_INLINE
words:
    for (uint32_t i = 0; i < beats; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(1, 64, 64)
        words.write((T)port.read());
    }
}

// `count` beats of memory, in order; `T` may be narrower than the port's word.
template <typename Word, typename T>
void pass_on(memory_port<Word>& port, uint32_t address, uint32_t count, stream<T>& words) {
    HLS_INLINE
    Stretch<Word> ahead = {address, count};
    Stretch<Word> taken = {address, count};
first_requests:
    for (uint32_t i = 0; i < AHEAD; ++i) {
        HLS_TRIPCOUNT(4, 4, 4)
        ahead.request(port);
    }
bursts:
    for (uint32_t beats = 0; taken.left != 0; taken.left -= beats) {
        HLS_TRIPCOUNT(0, 16384, 128)
        beats = burst_beats<Word>(taken.address, taken.left);
        taken.address += beats;
        take_words(port, beats, words);
        ahead.request(port);
    }
}

// The bursts that were asked for and not taken, oldest first.
struct Pending {
    uint32_t count;
    uint8_t beats[AHEAD];
    bool near[AHEAD]; // asked of the engine's own memory

    void add(uint32_t length, bool on_chip) {
        HLS_INLINE
        beats[count] = (uint8_t)length;
        near[count] = on_chip;
        ++count;
    }
    void drop_oldest() {
        HLS_INLINE
    places:
        for (uint32_t i = 1; i < AHEAD; ++i) {
            HLS_UNROLL
            beats[i - 1] = beats[i];
            near[i - 1] = near[i];
        }
        --count;
    }
};
