// What travels between the processes: one job per step for each process, and the records of the weight stream. Lane
// patterns and a lookup table follow the first job of their layer, on streams of their own.
#pragma once

#include <cstdint>

#include "hls.hpp"
#include "isa.hpp"

// One transfer of the weight port.
template <typename A>
using WeightBeat = wide_word<A::WEIGHT_PORT_WORDS>;

// The lanes' banks with one step's tile.
template <typename A>
using Bank = int8_t[A::IC][A::BANK_DEPTH];

template <typename A>
struct Weights {
    int8_t lane[A::OC][A::IC];
};

struct Tap {
    uint16_t base;
    uint8_t pattern;
    bool reuse;
    bool first, last; // of its block: the array need not count
};

// Where in the tile the pixels of a beat begin to read.
template <typename A>
struct Pixels {
    uint16_t cell[A::PX];
};

// Head of a block as the accumulator needs it.
template <typename A>
struct Block {
    int32_t bias[A::OC];
    uint32_t first_entry; // slot * beats
    bool init;
    bool emit;
};

// Head of an emitting block as the requantiser needs it.
template <typename A>
struct Scales {
    uint16_t multiplier[A::OC];
    uint8_t groups;
};

// Head of an emitting block as the processes behind the requantiser need it.
struct Emit {
    uint16_t out_group;
    uint8_t groups;
};

template <typename A>
struct Sums {
    int32_t pixel[A::PX][A::OC];
};

// A rectangle of a plane: `runs` of `length` pixels, `pitch` words apart; a run is a burst where its pixels lie side by
// side.
struct Bursts {
    uint32_t offset;
    uint32_t runs;
    uint32_t length;
    uint32_t pitch;
};

// Every job says whether it is of the run's last step: `end`. That is how a process knows that no other job comes.

// For hold_loads: the step loads when the one `depends` before it, and all before that, are complete.
struct HoldJob {
    uint8_t depends;
    bool end;
};

struct FetchJob {
    Bursts bursts;
    uint16_t groups;
    bool end;
};

struct FillJob {
    uint64_t lane_select[2];
    uint32_t cells; // of all groups together
    uint16_t rows, cols;
    uint16_t row_begin, row_end, col_begin, col_end; // the part of the tile that lies inside the image
    uint16_t pitch, chunk_cells;
    uint16_t groups;
    uint8_t groups_per_chunk;
    int8_t pad_value;
    bool end;
};

struct WalkJob {
    uint32_t pixels;
    uint32_t row_step;
    uint16_t beats, tile_width;
    uint8_t stride_x;
    bool end;
};

struct WeightJob {
    uint32_t address, words;
    bool end;
};

struct AssembleJob {
    uint32_t words;
    uint16_t beats;
    bool end;
};

struct AccumulateJob {
    uint32_t iterations;
    uint16_t last_beat;     // of each tap
    uint16_t real_beats;    // beats with at least one pixel of the tile
    uint16_t pattern_count; // lane patterns that come with the job: those of a new layer
    bool max;
    bool end;
};

struct RequantiseJob {
    uint32_t pixels;
    uint16_t emit_blocks;
    bool max, relu, look_up;
    bool new_table; // comes with the job
    bool end;
};

struct ResidualJob {
    Bursts bursts;
    uint32_t pixels; // words of a group
    uint32_t table;
    uint16_t emit_blocks;
    uint8_t step; // words from one pixel to the next
    bool used;
    bool end;
};

struct CombineJob {
    uint32_t pixels;
    uint16_t emit_blocks;
    uint8_t combine; // isa::Combine
    uint8_t shift_a, shift_b, shift_y;
    bool subtract, broadcast, relu, look_up;
    bool new_table; // comes with the job
    bool end;
};

struct StoreJob {
    Bursts bursts;
    uint32_t pixels; // words of a group
    uint32_t out_base, out_plane;
    uint16_t emit_blocks;
    uint8_t step; // words from one pixel to the next
    bool on_chip; // out_base counts words of the scratch memory
    bool first, last; // step of its layer
    uint32_t counters; // address of the layer's counters
    bool end;
};

struct CollectJob {
    bool first, last; // step of its layer
    bool end;
};

struct AccumulateCount {
    uint32_t iterations, taps, span;
};

// What the processes counted in a layer, but for the store's own words.
struct Totals {
    uint32_t iterations, taps, span;
    uint32_t fetch_words, weight_words, residual_words;
};

// What `store` tells of a complete step.
struct Receipt {
    uint32_t completed; // steps of the run
    bool end;
};

constexpr int8_t clip_to_code(int32_t v) {
    return v > 127 ? (int8_t)127 : v < -128 ? (int8_t)-128 : (int8_t)v;
}

// v / 2^shift, rounded half to even, for shift >= 1. As wide as `T`: v and half a unit must fit.
template <typename T>
constexpr T round_half_even(T v, uint32_t shift) {
    return (T)((v + (((T)1 << (shift - 1)) - 1 + ((v >> shift) & 1))) >> shift);
}
