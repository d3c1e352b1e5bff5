// Process: writes the output words: one burst per group or per row of the tile, or word by word where pixels lie apart.
#pragma once

#include "types.hpp"

inline void store(uint64_t* results, stream<StoreJob>& jobs, stream<Emit>& emits, stream<uint64_t>& words,
                  stream<uint32_t>& counts) {
    HLS_NOINLINE
    const StoreJob job = jobs.read();
    uint32_t count = 0;
blocks:
    for (uint32_t b = 0; b < job.emit_blocks; ++b) {
        HLS_TRIPCOUNT(0, 512, 8)
        const Emit emit = emits.read();
        const uint32_t plane = emit.out_group * job.out_plane;
        HLS_FABRIC_MULTIPLY(plane)
        uint32_t start = job.out_base + plane + job.bursts.offset;
    groups:
        for (uint32_t g = 0; g < emit.groups; ++g) {
            HLS_TRIPCOUNT(1, ARRAY_OC_GROUPS, ARRAY_OC_GROUPS)
            uint32_t address = start;
        runs:
            for (uint32_t run = 0; run < job.bursts.runs; ++run) {
                HLS_TRIPCOUNT(0, 1024, 14)
                if (job.step == 1) {
                burst:
                    for (uint32_t i = 0; i < job.bursts.length; ++i) {
                        HLS_PIPELINE(1)
                        HLS_TRIPCOUNT(0, 1024, 56)
                        results[address + i] = words.read();
                    }
                } else {
                    uint32_t apart = address;
                singles:
                    for (uint32_t i = 0; i < job.bursts.length; ++i) {
                        HLS_PIPELINE(1)
                        HLS_TRIPCOUNT(0, 1024, 28)
                        results[apart] = words.read();
                        apart += job.step;
                    }
                }
                address += job.bursts.pitch;
                count += job.bursts.length;
            }
            start += job.out_plane;
        }
    }
    counts.write(count);
}
