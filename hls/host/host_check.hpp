// Host only: walks a program before it runs and says what reaches outside the buffer or the engine's own memories, or
// writes over what is read as program. Hardware would raise a bus error, quietly overwrite its neighbours, or read an
// accumulator before it is written. What was found stays true during the run, since nothing writes what was read here.
#pragma once

#include <cstdio>
#include <iterator>
#include <map>

#include "array.hpp"
#include "output/lookup.hpp"
#include "types.hpp"

// Words that one step may store: on a host, 128 bytes for each wait in the queues of the output stage.
constexpr uint64_t MAX_STEP_STORES = UINT64_C(1) << 22;

// Stretches of memory, merged where they meet.
class Stretches {
  public:
    void add(uint64_t start, uint64_t end) {
        auto next = ends_.upper_bound(start);
        if (next != ends_.begin() && std::prev(next)->second >= start) {
            --next;
            start = next->first;
        }
        while (next != ends_.end() && next->first <= end) {
            end = next->second > end ? next->second : end;
            next = ends_.erase(next);
        }
        ends_[start] = end;
    }

    bool meet(uint64_t start, uint64_t end) const {
        const auto next = ends_.upper_bound(start);
        return (next != ends_.end() && next->first < end) || (next != ends_.begin() && std::prev(next)->second > start);
    }

  private:
    std::map<uint64_t, uint64_t> ends_; // start -> end
};

class ProgramCheck {
  public:
    ProgramCheck(const uint64_t* buffer, uint64_t words) : buffer_(buffer), words_(words) {}

    const char* fault() const { return fault_; }

    bool run(uint32_t layer_table, uint32_t step_count, uint32_t counters) {
        if (!at_most("words of the buffer", words_, isa::ON_CHIP)) {
            return false;
        }
        // What is written can be judged when all that is read as program is known.
        return walk(layer_table, step_count, counters, false) && walk(layer_table, step_count, counters, true);
    }

  private:
    bool walk(uint32_t layer_table, uint32_t step_count, uint32_t counters, bool writes) {
        writes_ = writes;
        uint32_t left = step_count;
        for (layer_ = 0; left > 0; ++layer_) {
            step_ = 0;
            if (!table("end of the layer table", layer_table + (uint64_t)layer_ * isa::LayerDescriptor::WORDS,
                       isa::LayerDescriptor::WORDS) ||
                !inside("end of the counters", counters, (layer_ + 1ull) * isa::LayerCounters::WORDS) ||
                !spares("the counters", counters + (uint64_t)layer_ * isa::LayerCounters::WORDS,
                        isa::LayerCounters::WORDS)) {
                return false;
            }
            const isa::LayerDescriptor layer = record<isa::LayerDescriptor>(layer_table, layer_);
            if (!at_least("steps of a layer", layer.step_count(), 1) ||
                !at_most("steps of a layer", layer.step_count(), left) || !check_layer(layer)) {
                return false;
            }
            left -= layer.step_count();
        }
        return true;
    }

    template <typename R>
    R record(uint64_t table, uint64_t index) const {
        R r;
        for (uint32_t i = 0; i < R::WORDS; ++i) {
            r.word[i] = buffer_[table + index * R::WORDS + i];
        }
        return r;
    }

    bool fail(const char* what, uint64_t found, uint64_t limit) {
        std::snprintf(fault_, sizeof fault_, "layer %u, step %u: %s is %llu, at most %llu", layer_, step_, what,
                      (unsigned long long)found, (unsigned long long)limit);
        return false;
    }

    bool at_most(const char* what, uint64_t value, uint64_t limit) { return value <= limit || fail(what, value, limit); }

    bool at_least(const char* what, uint64_t value, uint64_t limit) {
        if (value >= limit) {
            return true;
        }
        std::snprintf(fault_, sizeof fault_, "layer %u, step %u: %s is %llu, at least %llu", layer_, step_, what,
                      (unsigned long long)value, (unsigned long long)limit);
        return false;
    }

    bool equal(const char* what, uint64_t value, uint64_t counted) {
        if (value == counted) {
            return true;
        }
        std::snprintf(fault_, sizeof fault_, "layer %u, step %u: %s is %llu, the weight stream has %llu", layer_, step_,
                      what, (unsigned long long)value, (unsigned long long)counted);
        return false;
    }

    // No sum of an address and a length passes 64 bits: fields have 32, and what multiplies them 16.
    bool inside(const char* what, uint64_t address, uint64_t length) { return at_most(what, address + length, words_); }

    // Something that is read as program.
    bool table(const char* what, uint64_t address, uint64_t length) {
        if (!inside(what, address, length)) {
            return false;
        }
        if (!writes_ && length > 0) {
            program_.add(address, address + length);
        }
        return true;
    }

    // Something that is written.
    bool spares(const char* what, uint64_t address, uint64_t length) {
        if (!writes_ || length == 0 || !program_.meet(address, address + length)) {
            return true;
        }
        std::snprintf(fault_, sizeof fault_, "layer %u, step %u: %s at %llu, %llu words, would be written over the program",
                      layer_, step_, what, (unsigned long long)address, (unsigned long long)length);
        return false;
    }

    // Where a plane may lie on chip. Hardware would cut an address that passes the end of that memory to its width.
    bool plane_inside(const char* what, const char* what_on_chip, uint32_t base, uint64_t length) {
        if ((base & isa::ON_CHIP) != 0) {
            return at_most(what_on_chip, (base & ~isa::ON_CHIP) + length, Array::SCRATCH_WORDS);
        }
        return inside(what, base, length);
    }

    bool check_layer(const isa::LayerDescriptor& layer) {
        if (!table("end of the step table", layer.step_table(), (uint64_t)layer.step_count() * isa::StepDescriptor::WORDS) ||
            !table("end of the pattern table", layer.pattern_table(), (uint64_t)layer.pattern_count() * Array::PATTERN_WORDS) ||
            !at_most("pattern count", layer.pattern_count(), Array::MAX_PATTERNS) ||
            !at_most("mode", layer.mode(), isa::Mode::MAX) ||
            !at_most("combination", layer.combine(), isa::Combine::MULTIPLY) ||
            !at_most("lookup", layer.lookup(), isa::Lookup::AFTER) ||
            (layer.lookup() != isa::Lookup::NONE &&
             !table("end of the lookup table", layer.lookup_table(), TABLE_WORDS)) ||
            (layer.in_height() > 1 && !at_least("pitch of the input planes", layer.in_pitch(), layer.in_width()))) {
            return false;
        }
        for (uint32_t p = 0; p < layer.pattern_count(); ++p) {
            farthest_[p] = farthest(layer.pattern_table() + (uint64_t)p * Array::PATTERN_WORDS);
        }
        for (; step_ < layer.step_count(); ++step_) {
            if (!check_step(layer, record<isa::StepDescriptor>(layer.step_table(), step_))) {
                return false;
            }
        }
        return true;
    }

    // Largest offset of a lane pattern.
    uint16_t farthest(uint64_t address) const {
        uint16_t most = 0;
        for (uint32_t lane = 0; lane < Array::IC; ++lane) {
            const uint16_t offset = (uint16_t)(buffer_[address + lane / 4] >> (lane % 4 * 16));
            most = offset > most ? offset : most;
        }
        return most;
    }

    // Words from the first word of a rectangle to behind its last, none where it is empty.
    static uint64_t extent(uint64_t rows, uint64_t pitch, uint64_t cols, uint64_t step) {
        return rows == 0 || cols == 0 ? 0 : (rows - 1) * pitch + (cols - 1) * step + 1;
    }

    bool check_step(const isa::LayerDescriptor& layer, const isa::StepDescriptor& step) {
        const uint64_t groups = (uint64_t)layer.group_table() + step.first_group();
        if (!at_most("steps that a step depends on", step.depends(), isa::STEPS_IN_FLIGHT) ||
            !table("end of the group table", groups, step.groups())) {
            return false;
        }
        const uint64_t plane = extent(layer.in_height(), layer.in_pitch(), layer.in_width(), 1);
        for (uint32_t g = 0; g < step.groups(); ++g) {
            if (!plane_inside("end of an input plane", "end of an input plane on chip", (uint32_t)buffer_[groups + g],
                              plane)) {
                return false;
            }
        }
        if (step.groups() > 0) {
            if (!at_least("groups of a chunk", layer.groups_per_chunk(), 1)) {
                return false;
            }
            const uint64_t chunks = (step.groups() - 1u) / layer.groups_per_chunk() + 1u;
            const uint64_t cells = extent(step.rows(), layer.pitch(), step.cols(), 1);
            // Rows and chunks that overlap fit any bank, and could be loaded for ever.
            if (!at_most("bank cells of the tile", (chunks - 1) * layer.chunk_cells() + cells, Array::BANK_DEPTH) ||
                !at_most("words loaded", (uint64_t)step.rows() * step.cols() * step.groups(),
                         (uint64_t)Array::BANK_DEPTH * Array::IC_GROUPS)) {
                return false;
            }
        }
        const uint64_t pixels = (uint64_t)step.tile_height() * step.tile_width();
        if (!at_most("beats", step.beats(), Array::ACC_DEPTH) || !at_least("beats", step.beats(), Array::MIN_BEATS) ||
            !at_most("pixels of the tile", pixels, (uint64_t)step.beats() * Array::PX) ||
            (step.tile_height() > 1 &&
             !at_least("distance of output rows", (uint64_t)layer.out_step_y() * layer.out_pitch(), 1)) ||
            (step.tile_width() > 1 && !at_least("distance of output pixels", layer.out_step_x(), 1)) ||
            !at_most("misaligned words of the weights' address", step.weights() % Array::WEIGHT_PORT_WORDS, 0) ||
            !table("end of the weight stream", step.weights(), step.weight_words())) {
            return false;
        }
        return check_blocks(layer, step);
    }

    bool check_blocks(const isa::LayerDescriptor& layer, const isa::StepDescriptor& step) {
        const uint64_t row = (uint64_t)layer.out_step_y() * layer.out_pitch();
        // From a plane's address to behind the last word of this step.
        const uint64_t reach = extent((uint64_t)step.oy0() + step.tile_height(), row,
                                      (uint64_t)step.ox0() + step.tile_width(), layer.out_step_x());
        const uint64_t last_pixel = extent(step.tile_height(), (uint64_t)layer.stride_y() * layer.pitch(),
                                           step.tile_width(), layer.stride_x());
        // From a plane's address to the first word of this step.
        const uint64_t lead = step.oy0() * row + (uint64_t)step.ox0() * layer.out_step_x();
        uint64_t at = step.weights(), taps = 0, blocks = 0, emit_blocks = 0, emit_groups = 0;
        const uint64_t end = at + step.weight_words();
        for (; at < end; ++blocks) {
            const isa::BlockHeader block{{buffer_[at]}};
            if (!at_least("taps of a block", block.taps(), 1) ||
                !at_most("accumulators", ((uint64_t)block.slot() + 1) * step.beats(), Array::ACC_DEPTH) ||
                (block.emit() && !check_emit(layer, block, lead, reach))) {
                return false;
            }
            taps += block.taps();
            emit_blocks += block.emit();
            emit_groups += block.emit() ? block.groups() : 0;
            at += Array::BLOCK_WORDS;
            for (uint32_t t = 0; t < block.taps() && at < end; ++t) {
                const isa::TapHeader tap{{buffer_[at]}};
                if ((tap.binary() && !at_most("power of two of weights", tap.shift(), 6)) ||
                    !at_most("lane pattern", tap.pattern() + 1u, layer.pattern_count()) ||
                    !at_most("bank cells read", last_pixel + tap.base() + farthest_[tap.pattern()],
                             Array::BANK_DEPTH)) {
                    return false;
                }
                at += tap.reuse()    ? Array::REUSE_TAP_WORDS
                      : tap.binary() ? Array::BINARY_TAP_WORDS
                                     : Array::TAP_WORDS;
            }
        }
        return (at == end || fail("length of the blocks", at - step.weights(), step.weight_words())) &&
               equal("blocks", step.blocks(), blocks) && equal("taps", step.taps(), taps) &&
               equal("iterations", step.iterations(), taps * step.beats()) &&
               equal("emit_blocks", step.emit_blocks(), emit_blocks) &&
               equal("emit_groups", step.emit_groups(), emit_groups) &&
               at_most("words stored by the step", emit_groups * step.tile_height() * step.tile_width(), MAX_STEP_STORES);
    }

    bool check_emit(const isa::LayerDescriptor& layer, const isa::BlockHeader& block, uint64_t lead, uint64_t reach) {
        if (!at_least("groups of a block", block.groups(), 1) ||
            !at_most("groups of a block", block.groups(), Array::OC_GROUPS)) {
            return false;
        }
        for (uint64_t g = block.out_group(); g < (uint64_t)block.out_group() + block.groups(); ++g) {
            if (!plane_inside("end of an output plane", "end of an output plane on chip", layer.out_base(),
                              g * layer.out_plane() + reach)) {
                return false;
            }
            if ((layer.out_base() & isa::ON_CHIP) == 0 && reach > lead &&
                !spares("an output plane", layer.out_base() + g * layer.out_plane() + lead, reach - lead)) {
                return false;
            }
            if (layer.combine() != isa::Combine::NONE &&
                (!table("end of the residual table", layer.residual_table() + g, 1) ||
                 !inside("end of a residual plane", (uint32_t)buffer_[layer.residual_table() + g],
                         layer.broadcast() ? 1 : reach))) {
                return false;
            }
        }
        return true;
    }

    const uint64_t* buffer_;
    uint64_t words_;
    Stretches program_;
    bool writes_ = false;
    uint32_t layer_ = 0, step_ = 0;
    uint16_t farthest_[Array::MAX_PATTERNS] = {};
    char fault_[160] = "";
};
