// Process: reads a step's descriptor and its planes' addresses, hands each process its job, and brings a new layer's
// lane patterns and lookup table along.
//
// It runs ahead of the others as far as the queues let it; nothing that it reads is written by a step.
#pragma once

#include "output/lookup.hpp"
#include "ports.hpp"
#include "types.hpp"

// Runs of the pixels [row0, row0 + rows) x [col0, col0 + cols) of a plane whose rows are `pitch` words apart and whose
// pixels `step`; rows that follow each other without a gap are one run.
inline Bursts bursts_of(uint16_t row0, uint16_t rows, uint16_t col0, uint16_t cols, uint32_t pitch, uint8_t step) {
    HLS_INLINE
    Bursts b;
    const uint32_t start = row0 * pitch;
    HLS_FABRIC_MULTIPLY(start)
    const uint32_t indent = (uint32_t)col0 * step;
    HLS_FABRIC_MULTIPLY(indent)
    const uint32_t area = (uint32_t)rows * cols;
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

// Where the run is in its program. Addresses are counted on, not multiplied.
struct Place {
    uint32_t layer;    // address of the layer's descriptor
    uint32_t step;     // address of the next step's
    uint32_t counters; // address of the layer's counters
    uint32_t left;     // steps of the layer that are left
};

// A record, one word per cycle.
template <typename Record>
void read_record(memory_port<uint64_t>& descriptors, uint32_t address, Record& record) {
    HLS_INLINE
    static_assert(Record::WORDS <= BURST_BEATS / 2, "a record is at most two bursts");
    Stretch<uint64_t> ahead = {address, Record::WORDS};
    ahead.request(descriptors);
    ahead.request(descriptors); // nothing, but where a page ends within the record
words:
    for (uint32_t i = 0; i < Record::WORDS; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(6, 12, 6)
        record.word[i] = descriptors.read();
    }
}

// One step; `end`: the run's last.
template <typename A>
HLS_STEP void read_step(memory_port<uint64_t>& descriptors, bool end, Place& place, isa::LayerDescriptor& layer,
                        stream<HoldJob>& hold_jobs, stream<FetchJob>& fetch_jobs, stream<uint32_t>& planes,
                        stream<FillJob>& fill_jobs, stream<WalkJob>& walk_jobs, stream<WeightJob>& weight_jobs,
                        stream<AssembleJob>& assemble_jobs, stream<AccumulateJob>& accumulate_jobs,
                        stream<uint64_t>& pattern_words, stream<RequantiseJob>& requantise_jobs,
                        stream<uint64_t>& table_words_before, stream<ResidualJob>& residual_jobs,
                        stream<CombineJob>& combine_jobs, stream<uint64_t>& table_words_after,
                        stream<StoreJob>& store_jobs, stream<CollectJob>& collect_jobs) {
    HLS_INLINE
    const bool first = place.left == 0;
    if (first) {
        read_record(descriptors, place.layer, layer);
        place.layer += isa::LayerDescriptor::WORDS;
        place.step = layer.step_table();
        place.left = layer.step_count();
    }
    isa::StepDescriptor step;
    HLS_PARTITION(step.word, 1)
    read_record(descriptors, place.step, step);
    place.step += isa::StepDescriptor::WORDS;
    --place.left;
    const bool last = place.left == 0;
    weight_jobs.write(WeightJob{step.weights(), step.weight_words(), end});
    assemble_jobs.write(AssembleJob{step.weight_words(), step.beats(), end});
    hold_jobs.write(HoldJob{step.depends(), end});

    // The part of the tile that lies inside the image, in image coordinates.
    const int32_t top = larger(step.y0(), 0);
    const int32_t left = larger(step.x0(), 0);
    const int32_t bottom = larger(smaller((int32_t)step.y0() + step.rows(), layer.in_height()), top);
    const int32_t right = larger(smaller((int32_t)step.x0() + step.cols(), layer.in_width()), left);
    const uint16_t groups = step.groups();

    FetchJob fetch;
    fetch.bursts = bursts_of((uint16_t)top, (uint16_t)(bottom - top), (uint16_t)left, (uint16_t)(right - left),
                             layer.in_pitch(), 1);
    fetch.groups = groups;
    fetch.end = end;
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
    fill.end = end;
    fill_jobs.write(fill);

    const uint32_t pixels = (uint32_t)step.tile_height() * step.tile_width();
    HLS_FABRIC_MULTIPLY(pixels)
    const uint32_t row_step = (uint32_t)layer.stride_y() * layer.pitch();
    HLS_FABRIC_MULTIPLY(row_step)
    // Without taps the array takes no pixels.
    const uint16_t walked = step.iterations() == 0 ? (uint16_t)0 : step.beats();
    walk_jobs.write(WalkJob{pixels, row_step, walked, step.tile_width(), layer.stride_x(), end});

    const bool max = layer.mode() == isa::Mode::MAX;
    const uint8_t pattern_count = first ? layer.pattern_count() : (uint8_t)0;
    accumulate_jobs.write(AccumulateJob{step.iterations(), (uint16_t)(step.beats() - 1),
                                        (uint16_t)((pixels + A::PX - 1) / A::PX), pattern_count, max, end});
    const bool before = layer.lookup() == isa::Lookup::BEFORE;
    const bool after = layer.lookup() == isa::Lookup::AFTER;
    requantise_jobs.write(
        RequantiseJob{pixels, step.emit_blocks(), max, layer.relu_before(), before, first && before, end});

    const uint32_t out_pitch = (uint32_t)layer.out_step_y() * layer.out_pitch();
    HLS_FABRIC_MULTIPLY(out_pitch)
    const Bursts out =
        bursts_of(step.oy0(), step.tile_height(), step.ox0(), step.tile_width(), out_pitch, layer.out_step_x());
    const Bursts one_word{0, pixels == 0 ? 0u : 1u, 1, 0};
    const bool broadcast = layer.broadcast();
    residual_jobs.write(ResidualJob{broadcast ? one_word : out, broadcast ? one_word.runs : pixels,
                                    layer.residual_table(), step.emit_blocks(),
                                    broadcast ? (uint8_t)1 : layer.out_step_x(),
                                    layer.combine() != isa::Combine::NONE, end});
    combine_jobs.write(CombineJob{pixels, step.emit_blocks(), layer.combine(), layer.shift_a(), layer.shift_b(),
                                  layer.shift_y(), layer.subtract(), broadcast, layer.relu_after(), after,
                                  first && after, end});
    store_jobs.write(StoreJob{out, pixels, layer.out_base(), layer.out_plane(), step.emit_blocks(), layer.out_step_x(),
                              (layer.out_base() & isa::ON_CHIP) != 0, first, last, place.counters, end});
    collect_jobs.write(CollectJob{first, last, end});
    if (last) {
        place.counters += isa::LayerCounters::WORDS;
    }

    // The array takes a layer's patterns before it begins its first step, and goes on with the steps before meanwhile:
    // a table longer than its queue waits for that. So the planes, which those steps' successors need, come first.
    pass_on(descriptors, layer.group_table() + step.first_group(), groups, planes);
    const uint32_t pattern_total = pattern_count * A::PATTERN_WORDS;
    HLS_FABRIC_MULTIPLY(pattern_total)
    pass_on(descriptors, layer.pattern_table(), pattern_total, pattern_words);
    if (first && before) {
        pass_on(descriptors, layer.lookup_table(), TABLE_WORDS, table_words_before);
    }
    if (first && after) {
        pass_on(descriptors, layer.lookup_table(), TABLE_WORDS, table_words_after);
    }
}

// All steps of a run: the only process that is told how many there are.
template <typename A>
void read_steps(memory_port<uint64_t> descriptors, uint32_t layer_table, uint32_t counters, uint32_t step_count,
                stream<HoldJob>& hold_jobs, stream<FetchJob>& fetch_jobs, stream<uint32_t>& planes,
                stream<FillJob>& fill_jobs, stream<WalkJob>& walk_jobs, stream<WeightJob>& weight_jobs,
                stream<AssembleJob>& assemble_jobs, stream<AccumulateJob>& accumulate_jobs,
                stream<uint64_t>& pattern_words, stream<RequantiseJob>& requantise_jobs,
                stream<uint64_t>& table_words_before, stream<ResidualJob>& residual_jobs,
                stream<CombineJob>& combine_jobs, stream<uint64_t>& table_words_after, stream<StoreJob>& store_jobs,
                stream<CollectJob>& collect_jobs) {
    HLS_NOINLINE
    Place place = {layer_table, 0, counters, 0};
    isa::LayerDescriptor layer{};
    HLS_PARTITION(layer.word, 1)
steps:
    for (uint32_t left = step_count; left != 0; --left) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        read_step<A>(descriptors, left == 1, place, layer, hold_jobs, fetch_jobs, planes, fill_jobs, walk_jobs,
                     weight_jobs, assemble_jobs, accumulate_jobs, pattern_words, requantise_jobs, table_words_before,
                     residual_jobs, combine_jobs, table_words_after, store_jobs, collect_jobs);
    }
}
