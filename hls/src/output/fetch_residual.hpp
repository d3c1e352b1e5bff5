// Process: reads the residual operand in the order in which the output words leave; where it is broadcast, the one word
// of each group.
#pragma once

#include "ports.hpp"
#include "types.hpp"

// Runs of neighbours, as bursts.
inline void fetch_runs(memory_port<uint64_t>& residual, uint32_t start, const Bursts& bursts, stream<uint64_t>& words) {
    HLS_INLINE
    Pending pending = {};
    HLS_PARTITION(pending.beats, 0)
    HLS_PARTITION(pending.near, 0)
runs:
    for (uint32_t run = 0; run < bursts.runs; ++run) {
        HLS_TRIPCOUNT(0, 1024, 14)
        uint32_t address = start, beats = 0;
    requests:
        for (uint32_t left = bursts.length; left != 0; left -= beats) {
            HLS_TRIPCOUNT(0, 17, 1)
            if (pending.count == AHEAD) {
                take_words(residual, pending.beats[0], words);
                pending.drop_oldest();
            }
            beats = burst_beats<uint64_t>(address, left);
            residual.read_request(address, beats);
            pending.add(beats, false);
            address += beats;
        }
        start += bursts.pitch;
    }
rest:
    for (uint32_t left = pending.count; left != 0; --left) {
        HLS_TRIPCOUNT(0, 4, 4)
        take_words(residual, pending.beats[0], words);
        pending.drop_oldest();
    }
}

// Pixels apart, each a transfer of its own: one is asked for in a cycle while the one AHEAD before it is taken.
inline void fetch_singles(memory_port<uint64_t>& residual, uint32_t start, const Bursts& bursts, uint8_t step,
                          uint32_t pixels, stream<uint64_t>& words) {
    HLS_INLINE
    uint32_t row = start, apart = start, col = 0;
singles:
    for (uint32_t i = 0; i < pixels + AHEAD; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(4, 1028, 392)
        if (i < pixels) {
            residual.read_request(apart, 1);
        }
        if (i >= AHEAD) {
            words.write(residual.read());
        }
        apart += step;
        ++col;
        if (col == bursts.length) {
            col = 0;
            row += bursts.pitch;
            apart = row;
        }
    }
}

// One step.
template <typename A>
HLS_STEP bool fetch_residual(memory_port<uint64_t>& residual, stream<ResidualJob>& jobs, stream<Emit>& emits,
                             stream<uint64_t>& words, stream<uint32_t>& counts) {
    HLS_INLINE
    const ResidualJob job = jobs.read();
    uint32_t count = 0;
blocks:
    for (uint32_t b = 0; b < job.emit_blocks; ++b) {
        HLS_TRIPCOUNT(0, 512, 8)
        const Emit emit = emits.read();
        const uint32_t groups = job.used ? emit.groups : (uint8_t)0;
        // The block's planes: their addresses stand side by side.
        uint32_t planes[A::OC_GROUPS] = {};
        HLS_PARTITION(planes, 1)
        Stretch<uint64_t> table = {job.table + emit.out_group, groups};
        table.request(residual);
        table.request(residual); // nothing, but where a page ends within the table
    read_planes:
        for (uint32_t g = 0; g < groups; ++g) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(0, ARRAY_OC_GROUPS, ARRAY_OC_GROUPS)
            planes[g & (A::OC_GROUPS - 1)] = (uint32_t)residual.read();
        }
    groups:
        for (uint32_t g = 0; g < groups; ++g) {
            HLS_TRIPCOUNT(0, ARRAY_OC_GROUPS, ARRAY_OC_GROUPS)
            const uint32_t start = planes[g & (A::OC_GROUPS - 1)] + job.bursts.offset;
            if (job.step == 1) {
                fetch_runs(residual, start, job.bursts, words);
            } else {
                fetch_singles(residual, start, job.bursts, job.step, job.pixels, words);
            }
            count += job.pixels;
        }
    }
    counts.write(count);
    return !job.end;
}

// All steps of a run.
template <typename A>
void fetch_residuals(memory_port<uint64_t> residual, stream<ResidualJob>& jobs, stream<Emit>& emits,
                     stream<uint64_t>& words, stream<uint32_t>& counts) {
    HLS_NOINLINE
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = fetch_residual<A>(residual, jobs, emits, words, counts);
    }
}
