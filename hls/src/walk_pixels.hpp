// Process: where in the tile each output pixel of each beat begins to read. The array keeps what it gets in a step's
// first tap for the taps after it.
#pragma once

#include "types.hpp"

// One step, one pixel per cycle.
template <typename A>
HLS_STEP bool walk_tile(stream<WalkJob>& jobs, stream<Pixels<A>>& walk) {
    HLS_INLINE
    const WalkJob job = jobs.read();
    uint32_t pixel = 0, cell = 0, row_start = 0;
    uint16_t ox = 0;
    Pixels<A> beat{};
    HLS_PARTITION(beat.cell, 1)
beats:
    for (uint32_t i = 0; i < job.beats; ++i) {
        HLS_TRIPCOUNT(0, ARRAY_ACC_DEPTH, 392)
    pixels:
        for (uint32_t j = 0; j < A::PX; ++j) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(ARRAY_PX, ARRAY_PX, ARRAY_PX)
            beat.cell[j] = pixel < job.pixels ? (uint16_t)cell : (uint16_t)0;
            if (j == A::PX - 1) {
                walk.write(beat);
            }
            ++pixel;
            ++ox;
            cell += job.stride_x;
            if (ox == job.tile_width) {
                ox = 0;
                row_start += job.row_step;
                cell = row_start;
            }
        }
    }
    return !job.end;
}

// All steps of a run.
template <typename A>
void walk_pixels(stream<WalkJob>& jobs, stream<Pixels<A>>& walk) {
    HLS_NOINLINE
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = walk_tile<A>(jobs, walk);
    }
}
