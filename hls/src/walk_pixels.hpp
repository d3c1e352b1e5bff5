// Process: the pixel table: where in the tile each output pixel of each beat begins to read.
#pragma once

#include "types.hpp"

template <typename A>
void walk_pixels(stream<WalkJob>& jobs, uint16_t walk[A::ACC_DEPTH][A::PX]) {
    HLS_NOINLINE
    const WalkJob job = jobs.read();
    uint32_t pixel = 0, cell = 0, row_start = 0;
    uint16_t ox = 0;
beats:
    for (uint32_t beat = 0; beat < job.beats; ++beat) {
        HLS_TRIPCOUNT(ARRAY_MIN_BEATS, ARRAY_ACC_DEPTH, 392)
    pixels:
        for (uint32_t j = 0; j < A::PX; ++j) {
            HLS_PIPELINE(1)
            HLS_TRIPCOUNT(ARRAY_PX, ARRAY_PX, ARRAY_PX)
            walk[beat & (A::ACC_DEPTH - 1)][j] = pixel < job.pixels ? (uint16_t)cell : (uint16_t)0;
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
}
