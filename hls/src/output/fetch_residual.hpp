// Process: reads the residual operand in the order in which the output words leave; where it is broadcast, the one word
// of each group.
#pragma once

#include "types.hpp"

inline void fetch_residual(const uint64_t* residual, stream<ResidualJob>& jobs, stream<Emit>& emits,
                           stream<uint64_t>& words, stream<uint32_t>& counts) {
    HLS_NOINLINE
    const ResidualJob job = jobs.read();
    uint32_t count = 0;
blocks:
    for (uint32_t b = 0; b < job.emit_blocks; ++b) {
        HLS_TRIPCOUNT(0, 512, 8)
        const Emit emit = emits.read();
        const uint32_t groups = job.used ? emit.groups : (uint8_t)0;
    groups:
        for (uint32_t g = 0; g < groups; ++g) {
            HLS_TRIPCOUNT(0, ARRAY_OC_GROUPS, ARRAY_OC_GROUPS)
            uint32_t address = (uint32_t)residual[job.table + emit.out_group + g] + job.bursts.offset;
        runs:
            for (uint32_t run = 0; run < job.bursts.runs; ++run) {
                HLS_TRIPCOUNT(0, 1024, 14)
                if (job.step == 1) {
                burst:
                    for (uint32_t i = 0; i < job.bursts.length; ++i) {
                        HLS_PIPELINE(1)
                        HLS_TRIPCOUNT(0, 1024, 56)
                        words.write(residual[address + i]);
                    }
                } else {
                    uint32_t apart = address;
                singles:
                    for (uint32_t i = 0; i < job.bursts.length; ++i) {
                        HLS_PIPELINE(1)
                        HLS_TRIPCOUNT(0, 1024, 28)
                        words.write(residual[apart]);
                        apart += job.step;
                    }
                }
                address += job.bursts.pitch;
                count += job.bursts.length;
            }
        }
    }
    counts.write(count);
}
