// What travels between the processes: one job per step for each process, and the records of the weight stream. Lane
// patterns and a lookup table follow the first job of their layer, on streams of their own.
#pragma once

#include <cstdint>

#include "hls.hpp"
#include "isa.hpp"

// One transfer of the weight port.
template <typename A>
struct WeightBeat {
    uint64_t word[A::WEIGHT_PORT_WORDS];
};

template <typename A>
struct Weights {
    int8_t lane[A::OC][A::IC];
};

struct Tap {
    uint16_t base;
    uint8_t pattern;
    bool reuse;
};

// Head of a block as the accumulator needs it.
template <typename A>
struct Block {
    int32_t bias[A::OC];
    uint32_t first_entry; // slot * beats
    uint16_t taps;
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

// For hold_loads: the step loads when the one `depends` before it, and all before that, are complete.
struct HoldJob {
    uint8_t depends;
};

struct FetchJob {
    Bursts bursts;
    uint16_t groups;
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
};

struct WalkJob {
    uint32_t pixels;
    uint32_t row_step;
    uint16_t beats, tile_width;
    uint8_t stride_x;
};

struct WeightJob {
    uint32_t address, words;
};

struct AssembleJob {
    uint32_t words;
    uint16_t beats;
};

struct AccumulateJob {
    uint32_t iterations;
    uint16_t beats;
    uint16_t real_beats;    // beats with at least one pixel of the tile
    uint16_t pattern_count; // lane patterns that come with the job: those of a new layer
    bool max;
};

struct RequantiseJob {
    uint32_t pixels;
    uint16_t emit_blocks;
    bool max, relu, look_up;
    bool new_table; // comes with the job
};

struct ResidualJob {
    Bursts bursts;
    uint32_t table;
    uint16_t emit_blocks;
    uint8_t step; // words from one pixel to the next
    bool used;
};

struct CombineJob {
    uint32_t pixels;
    uint16_t emit_blocks;
    uint8_t combine; // isa::Combine
    uint8_t shift_a, shift_b, shift_y;
    bool subtract, broadcast, relu, look_up;
    bool new_table; // comes with the job
};

struct StoreJob {
    Bursts bursts;
    uint32_t out_base, out_plane;
    uint16_t emit_blocks;
    uint8_t step; // words from one pixel to the next
    bool on_chip; // out_base counts words of the scratch memory
    bool first, last; // step of its layer
    uint32_t counters; // address of the layer's counters
};

struct CollectJob {
    bool first, last; // step of its layer
};

struct AccumulateCount {
    uint32_t iterations, taps, span;
};

// What the processes counted in a layer, but for the store's own words.
struct Totals {
    uint32_t iterations, taps, span;
    uint32_t fetch_words, weight_words, residual_words;
};

// v as a signed number of `width` bits: on a host what a wire of that width would carry.
template <uint32_t width>
constexpr int64_t narrow(int64_t v) {
    return (int64_t)((uint64_t)v << (64 - width)) >> (64 - width);
}

constexpr int8_t clip_to_code(int32_t v) {
    return v > 127 ? (int8_t)127 : v < -128 ? (int8_t)-128 : (int8_t)v;
}

// v / 2^shift, rounded half to even, for shift >= 1.
constexpr int64_t round_half_even(int64_t v, uint32_t shift) {
    const int64_t odd = (v >> shift) & 1;
    return (v + ((int64_t)1 << (shift - 1)) - 1 + odd) >> shift;
}
