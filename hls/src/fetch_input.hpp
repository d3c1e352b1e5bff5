// Process: reads the words of an input tile that lie inside the image, group after group, row after row.
#pragma once

#include "types.hpp"

template <typename A>
void fetch_input(const uint64_t* features, const uint64_t scratch[A::SCRATCH_WORDS], stream<FetchJob>& jobs,
                 stream<uint32_t>& planes, stream<uint64_t>& words, stream<uint32_t>& counts) {
    HLS_NOINLINE
    const FetchJob job = jobs.read();
    uint32_t count = 0;
groups:
    for (uint32_t group = 0; group < job.groups; ++group) {
        HLS_TRIPCOUNT(0, 512, 8)
        const uint32_t plane = planes.read();
        const bool on_chip = (plane & isa::ON_CHIP) != 0;
        uint32_t address = plane + job.bursts.offset;
    runs:
        for (uint32_t run = 0; run < job.bursts.runs; ++run) {
            HLS_TRIPCOUNT(0, 8192, 16)
            if (on_chip) {
            near:
                for (uint32_t i = 0; i < job.bursts.length; ++i) {
                    HLS_PIPELINE(1)
                    HLS_TRIPCOUNT(0, 8192, 56)
                    words.write(scratch[(address + i) & (A::SCRATCH_WORDS - 1)]);
                }
            } else {
            burst:
                for (uint32_t i = 0; i < job.bursts.length; ++i) {
                    HLS_PIPELINE(1)
                    HLS_TRIPCOUNT(0, 8192, 56)
                    words.write(features[address + i]);
                }
            }
            address += job.bursts.pitch;
            count += job.bursts.length;
        }
    }
    counts.write(count);
}
