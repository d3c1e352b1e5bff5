// Process: reads the words of an input tile that lie inside the image, group after group, row after row, from DDR or
// from the engine's own memory.
#pragma once

#include "ports.hpp"
#include "scratch.hpp"
#include "types.hpp"

// Takes the oldest burst that was asked for.
template <typename Words>
void take_burst(memory_port<uint64_t>& features, Words& near_words, Pending& pending, stream<uint64_t>& words) {
    HLS_INLINE
    const uint32_t beats = pending.beats[0];
    if (pending.near[0]) {
    near:
        for (uint32_t i = 0; i < beats; ++i) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(1, 64, 56)
            words.write(near_words.read());
        }
    } else {
        take_words(features, beats, words);
    }
    pending.drop_oldest();
}

// One step. The two streams of the engine's own memory may be whatever serves them: on a host it is there at once.
template <typename Requests, typename Words>
HLS_STEP bool fetch_input(memory_port<uint64_t>& features, stream<FetchJob>& jobs, stream<uint32_t>& planes,
                          Requests& near_requests, Words& near_words, stream<uint64_t>& words,
                          stream<uint32_t>& counts) {
    HLS_INLINE
    const FetchJob job = jobs.read();
    uint32_t count = 0;
    Pending pending = {};
    HLS_PARTITION(pending.beats, 0)
    HLS_PARTITION(pending.near, 0)
groups:
    for (uint32_t group = 0; group < job.groups; ++group) {
        HLS_TRIPCOUNT(0, 512, 8)
        const uint32_t plane = planes.read();
        const bool on_chip = (plane & isa::ON_CHIP) != 0;
        uint32_t start = plane + job.bursts.offset;
    runs:
        for (uint32_t run = 0; run < job.bursts.runs; ++run) {
            HLS_TRIPCOUNT(0, 8192, 16)
            uint32_t address = start, beats = 0;
        requests:
            for (uint32_t left = job.bursts.length; left != 0; left -= beats) {
                HLS_TRIPCOUNT(0, 129, 1)
                if (pending.count == AHEAD) {
                    take_burst(features, near_words, pending, words);
                }
                beats = burst_beats<uint64_t>(address, left);
                if (on_chip) {
                    near_requests.write(ScratchRead{address, (uint8_t)beats});
                } else {
                    features.read_request(address, beats);
                }
                pending.add(beats, on_chip);
                address += beats;
            }
            start += job.bursts.pitch;
            count += job.bursts.length;
        }
    }
rest:
    for (uint32_t left = pending.count; left != 0; --left) {
        HLS_TRIPCOUNT(0, 4, 4)
        take_burst(features, near_words, pending, words);
    }
    counts.write(count);
    return !job.end;
}

// All steps of a run.
inline void fetch_inputs(memory_port<uint64_t> features, stream<FetchJob>& jobs, stream<uint32_t>& planes,
                         stream<ScratchRead>& near_requests, stream<uint64_t>& near_words, stream<uint64_t>& words,
                         stream<uint32_t>& counts) {
    HLS_NOINLINE
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = fetch_input(features, jobs, planes, near_requests, near_words, words, counts);
    }
    near_requests.write(ScratchRead{0, 0});
}
