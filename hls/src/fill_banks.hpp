// Process: writes the tile into the lane banks, one cell of one group per cycle, padding included.
#pragma once

#include "types.hpp"

// In a chunk of n groups, part j of the lanes holds group j mod n. Every chunk has groups_per_chunk groups but the last,
// which takes what is left. Returns n.
template <typename A>
uint8_t share_parts(uint32_t groups_per_chunk, uint32_t left, uint8_t holds[A::IC_GROUPS]) {
    HLS_INLINE
    const uint8_t n = (uint8_t)(left < groups_per_chunk ? left : groups_per_chunk);
    uint8_t next = 0;
parts:
    for (uint32_t part = 0; part < A::IC_GROUPS; ++part) {
        HLS_UNROLL
        holds[part] = next;
        next = (uint8_t)(next + 1 == n ? 0 : next + 1);
    }
    return n;
}

// One step: one block of the banks.
template <typename A>
HLS_STEP bool fill_bank(stream<FillJob>& jobs, stream<uint64_t>& words, block_stream<Bank<A>>& banks) {
    HLS_INLINE
    const FillJob job = jobs.read();
    HLS_PARTITION(job.lane_select, 1)
    write_block<Bank<A>> bank(banks);

    uint8_t select[A::IC];
    HLS_PARTITION(select, 1)
lanes:
    for (uint32_t lane = 0; lane < A::IC; ++lane) {
        HLS_UNROLL
        select[lane] = (uint8_t)((job.lane_select[lane / 16] >> (lane % 16 * 3)) & 7);
    }

    uint64_t padding = 0;
pad_bytes:
    for (uint32_t k = 0; k < isa::GROUP; ++k) {
        HLS_UNROLL
        padding |= (uint64_t)(uint8_t)job.pad_value << (8 * k);
    }

    uint16_t row = 0, col = 0;
    uint32_t chunk_start = 0, row_start = 0;
    uint8_t unit = 0; // group within the chunk
    uint16_t left = job.groups;
    uint8_t holds[A::IC_GROUPS];
    HLS_PARTITION(holds, 1)
    uint8_t units = share_parts<A>(job.groups_per_chunk, left, holds);
cells:
    for (uint32_t i = 0; i < job.cells; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 32768, 4096)
        const bool inside = row >= job.row_begin && row < job.row_end && col >= job.col_begin && col < job.col_end;
        uint64_t word = padding;
        if (inside) {
            word = words.read();
        }
        const uint32_t cell = (chunk_start + row_start + col) & (A::BANK_DEPTH - 1);
    write_lanes:
        for (uint32_t lane = 0; lane < A::IC; ++lane) {
            HLS_UNROLL
            if (holds[lane / isa::GROUP] == unit) {
                bank[lane][cell] = (int8_t)(word >> (select[lane] * 8));
            }
        }
        ++col;
        if (col == job.cols) {
            col = 0;
            ++row;
            row_start += job.pitch;
            if (row == job.rows) {
                row = 0;
                row_start = 0;
                ++unit;
                --left;
                if (unit == units) {
                    unit = 0;
                    chunk_start += job.chunk_cells;
                    units = share_parts<A>(job.groups_per_chunk, left, holds);
                }
            }
        }
    }
    return !job.end;
}

// All steps of a run.
template <typename A>
void fill_banks(stream<FillJob>& jobs, stream<uint64_t>& words, block_stream<Bank<A>>& banks) {
    HLS_NOINLINE
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = fill_bank<A>(jobs, words, banks);
    }
}
