// Process: reads a step's descriptor and its planes' addresses, hands each process its job, and brings a new layer's
// lane patterns and lookup table along.
//
// It runs ahead of the others as far as the queues let it; nothing that it reads is written by a step.
#pragma once

#include "output/lookup.hpp"
#include "types.hpp"

// Runs of the pixels [row0, row0 + rows) x [col0, col0 + cols) of a plane whose rows are `pitch` words apart and whose
// pixels `step`; rows that follow each other without a gap are one run.
inline Bursts bursts_of(uint32_t row0, uint32_t rows, uint32_t col0, uint32_t cols, uint32_t pitch, uint32_t step) {
    HLS_INLINE
    Bursts b;
    const uint32_t start = row0 * pitch;
    HLS_FABRIC_MULTIPLY(start)
    const uint32_t indent = col0 * step;
    HLS_FABRIC_MULTIPLY(indent)
    const uint32_t area = rows * cols;
    HLS_FABRIC_MULTIPLY(area)
    const bool whole = cols == pitch && step == 1;
    b.offset = start + indent;
    b.runs = area == 0 ? 0 : whole ? 1 : rows;
    b.length = whole ? area : cols;
    b.pitch = pitch;
    return b;
}

inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

inline void read_layer(const uint64_t* descriptors, uint32_t address, isa::LayerDescriptor& layer) {
    HLS_INLINE
words:
    for (uint32_t i = 0; i < isa::LayerDescriptor::WORDS; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(12, 12, 12)
        layer.word[i] = descriptors[address + i];
    }
}

// Words of a table, as they are.
inline void pass_on(const uint64_t* descriptors, uint32_t address, uint32_t count, stream<uint64_t>& words) {
    HLS_INLINE
words:
    for (uint32_t i = 0; i < count; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 512, 32)
        words.write(descriptors[address + i]);
    }
}

template <typename A>
void read_step(const uint64_t* descriptors, uint32_t layer_table, uint32_t counters, uint32_t index,
               stream<HoldJob>& hold_jobs, stream<FetchJob>& fetch_jobs, stream<uint32_t>& planes,
               stream<FillJob>& fill_jobs, stream<WalkJob>& walk_jobs, stream<WeightJob>& weight_jobs,
               stream<AssembleJob>& assemble_jobs, stream<AccumulateJob>& accumulate_jobs,
               stream<uint64_t>& pattern_words, stream<RequantiseJob>& requantise_jobs,
               stream<uint64_t>& table_words_before, stream<ResidualJob>& residual_jobs,
               stream<CombineJob>& combine_jobs, stream<uint64_t>& table_words_after, stream<StoreJob>& store_jobs,
               stream<CollectJob>& collect_jobs) {
    HLS_NOINLINE
    static isa::LayerDescriptor layer;
    HLS_PARTITION(layer.word, 1)
    static uint32_t next_layer;  // number of the layer after this one
    static uint32_t next_step;   // number within the layer
    const bool first = index == 0 || next_step == layer.step_count();
    if (first) {
        next_layer = index == 0 ? 0u : next_layer;
        next_step = 0;
        read_layer(descriptors, layer_table + next_layer * isa::LayerDescriptor::WORDS, layer);
        ++next_layer;
    }

    isa::StepDescriptor step;
    HLS_PARTITION(step.word, 1)
    const uint32_t address = layer.step_table() + next_step * isa::StepDescriptor::WORDS;
    ++next_step;
    const bool last = next_step == layer.step_count();
read_descriptor:
    for (uint32_t i = 0; i < isa::StepDescriptor::WORDS; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(6, 6, 6)
        step.word[i] = descriptors[address + i];
    }
    weight_jobs.write(WeightJob{step.weights(), step.weight_words()});
    assemble_jobs.write(AssembleJob{step.weight_words(), step.beats()});
    hold_jobs.write(HoldJob{step.depends()});

    // The part of the tile that lies inside the image, in image coordinates.
    const int32_t top = larger(step.y0(), 0);
    const int32_t left = larger(step.x0(), 0);
    const int32_t bottom = larger(smaller((int32_t)step.y0() + step.rows(), layer.in_height()), top);
    const int32_t right = larger(smaller((int32_t)step.x0() + step.cols(), layer.in_width()), left);
    const uint16_t groups = step.groups();

    FetchJob fetch;
    fetch.bursts = bursts_of((uint32_t)top, (uint32_t)(bottom - top), (uint32_t)left, (uint32_t)(right - left),
                             layer.in_pitch(), 1);
    fetch.groups = groups;
    fetch_jobs.write(fetch);

    const uint32_t tile_cells = (uint32_t)step.rows() * step.cols();
    HLS_FABRIC_MULTIPLY(tile_cells)
    const uint32_t all_cells = tile_cells * groups;
    HLS_FABRIC_MULTIPLY(all_cells)
    FillJob fill;
    fill.lane_select[0] = layer.lane_select_0();
    fill.lane_select[1] = layer.lane_select_1();
    fill.cells = all_cells;
    fill.rows = step.rows();
    fill.cols = step.cols();
    fill.row_begin = (uint16_t)(top - step.y0());
    fill.row_end = (uint16_t)(bottom - step.y0());
    fill.col_begin = (uint16_t)(left - step.x0());
    fill.col_end = (uint16_t)(right - step.x0());
    fill.pitch = layer.pitch();
    fill.chunk_cells = layer.chunk_cells();
    fill.groups_per_chunk = layer.groups_per_chunk();
    fill.groups = groups;
    fill.pad_value = layer.pad_value();
    fill_jobs.write(fill);

    const uint32_t pixels = (uint32_t)step.tile_height() * step.tile_width();
    HLS_FABRIC_MULTIPLY(pixels)
    const uint32_t row_step = (uint32_t)layer.stride_y() * layer.pitch();
    HLS_FABRIC_MULTIPLY(row_step)
    walk_jobs.write(WalkJob{pixels, row_step, step.beats(), step.tile_width(), layer.stride_x()});

    const bool max = layer.mode() == isa::Mode::MAX;
    const uint8_t pattern_count = first ? layer.pattern_count() : (uint8_t)0;
    accumulate_jobs.write(AccumulateJob{step.iterations(), step.beats(), (uint16_t)((pixels + A::PX - 1) / A::PX),
                                        pattern_count, max});
    const bool before = layer.lookup() == isa::Lookup::BEFORE;
    const bool after = layer.lookup() == isa::Lookup::AFTER;
    requantise_jobs.write(
        RequantiseJob{pixels, step.emit_blocks(), max, layer.relu_before(), before, first && before});

    const uint32_t out_pitch = (uint32_t)layer.out_step_y() * layer.out_pitch();
    HLS_FABRIC_MULTIPLY(out_pitch)
    const Bursts out =
        bursts_of(step.oy0(), step.tile_height(), step.ox0(), step.tile_width(), out_pitch, layer.out_step_x());
    const Bursts one_word{0, pixels == 0 ? 0u : 1u, 1, 0};
    const bool broadcast = layer.broadcast();
    residual_jobs.write(ResidualJob{broadcast ? one_word : out, layer.residual_table(), step.emit_blocks(),
                                    broadcast ? (uint8_t)1 : layer.out_step_x(),
                                    layer.combine() != isa::Combine::NONE});
    combine_jobs.write(CombineJob{pixels, step.emit_blocks(), layer.combine(), layer.shift_a(), layer.shift_b(),
                                  layer.shift_y(), layer.subtract(), broadcast, layer.relu_after(), after,
                                  first && after});
    store_jobs.write(StoreJob{out, layer.out_base(), layer.out_plane(), step.emit_blocks(), layer.out_step_x(),
                              (layer.out_base() & isa::ON_CHIP) != 0, first, last,
                              counters + (next_layer - 1) * isa::LayerCounters::WORDS});
    collect_jobs.write(CollectJob{first, last});

    // The order matters where a table is longer than its queue: the patterns wait for the array to begin the step,
    // which it does when the tile is in its banks; so the planes come first. All jobs are out by then.

    const uint32_t table = layer.group_table() + step.first_group();
read_planes:
    for (uint32_t i = 0; i < groups; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 512, 8)
        planes.write((uint32_t)descriptors[table + i]);
    }
    pass_on(descriptors, layer.pattern_table(), pattern_count * A::PATTERN_WORDS, pattern_words);
    if (first && before) {
        pass_on(descriptors, layer.lookup_table(), TABLE_WORDS, table_words_before);
    }
    if (first && after) {
        pass_on(descriptors, layer.lookup_table(), TABLE_WORDS, table_words_after);
    }
}
