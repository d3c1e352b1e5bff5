// Host only: walks a program before it runs and says what reaches outside the buffer. Hardware would raise a bus error,
// or quietly overwrite its neighbours.
#pragma once

#include <cstdio>

#include "array.hpp"
#include "types.hpp"

class ProgramCheck {
  public:
    ProgramCheck(const uint64_t* buffer, uint64_t words) : buffer_(buffer), words_(words) {}

    const char* fault() const { return fault_; }

    bool run(uint32_t layer_table, uint32_t layer_count, uint32_t counters) {
        if (!inside("layer table", layer_table, (uint64_t)layer_count * isa::LayerDescriptor::WORDS) ||
            !inside("counters", counters, (uint64_t)layer_count * isa::LayerCounters::WORDS)) {
            return false;
        }
        for (layer_ = 0; layer_ < layer_count; ++layer_) {
            if (!check_layer(record<isa::LayerDescriptor>(layer_table, layer_))) {
                return false;
            }
        }
        return true;
    }

  private:
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

    bool inside(const char* what, uint64_t address, uint64_t length) { return at_most(what, address + length, words_); }

    bool check_layer(const isa::LayerDescriptor& layer) {
        step_ = 0;
        if (!inside("end of the step table", layer.step_table(), (uint64_t)layer.step_count() * isa::StepDescriptor::WORDS) ||
            !inside("end of the pattern table", layer.pattern_table(), (uint64_t)layer.pattern_count() * Array::PATTERN_WORDS) ||
            !at_most("pattern count", layer.pattern_count(), Array::MAX_PATTERNS)) {
            return false;
        }
        for (; step_ < layer.step_count(); ++step_) {
            if (!check_step(layer, record<isa::StepDescriptor>(layer.step_table(), step_))) {
                return false;
            }
        }
        return true;
    }

    bool check_step(const isa::LayerDescriptor& layer, const isa::StepDescriptor& step) {
        const uint64_t table = (uint64_t)layer.group_table() + step.first_group();
        if (!inside("end of the group table", table, step.groups())) {
            return false;
        }
        for (uint32_t g = 0; g < step.groups(); ++g) {
            if (!inside("end of an input plane", (uint32_t)buffer_[table + g], (uint64_t)layer.in_width() * layer.in_height())) {
                return false;
            }
        }
        const uint64_t pixels = (uint64_t)step.tile_height() * step.tile_width();
        if (!at_most("beats", step.beats(), Array::ACC_DEPTH) ||
            !at_most("pixels of the tile", pixels, (uint64_t)step.beats() * Array::PX) ||
            !at_most("iterations", step.iterations(), (uint64_t)step.taps() * step.beats()) ||
            !at_most("last output row", (uint64_t)step.oy0() + step.tile_height(), layer.out_height()) ||
            !at_most("last output column", (uint64_t)step.ox0() + step.tile_width(), layer.out_width()) ||
            !at_most("misaligned words of the weights' address", step.weights() % Array::WEIGHT_PORT_WORDS, 0) ||
            !inside("end of the weight stream", step.weights(), step.weight_words())) {
            return false;
        }
        return check_blocks(layer, step);
    }

    bool check_blocks(const isa::LayerDescriptor& layer, const isa::StepDescriptor& step) {
        const uint64_t plane = (uint64_t)layer.out_width() * layer.out_height();
        uint64_t at = step.weights();
        const uint64_t end = at + step.weight_words();
        for (uint32_t b = 0; b < step.blocks() && at < end; ++b) {
            const isa::BlockHeader block{{buffer_[at]}};
            if (block.emit()) {
                if (!at_most("groups of a block", block.groups(), Array::OC_GROUPS)) {
                    return false;
                }
                for (uint64_t g = block.out_group(); g < (uint64_t)block.out_group() + block.groups(); ++g) {
                    if (!inside("end of an output plane", layer.out_base() + g * layer.out_plane(), plane)) {
                        return false;
                    }
                    if (layer.add() &&
                        (!inside("end of the residual table", layer.residual_table() + g, 1) ||
                         !inside("end of a residual plane", (uint32_t)buffer_[layer.residual_table() + g], plane))) {
                        return false;
                    }
                }
            }
            at += Array::BLOCK_WORDS;
            for (uint32_t t = 0; t < block.taps() && at < end; ++t) {
                at += isa::TapHeader{{buffer_[at]}}.reuse() ? Array::REUSE_TAP_WORDS : Array::TAP_WORDS;
            }
        }
        return at == end || fail("length of the blocks", at - step.weights(), step.weight_words());
    }

    const uint64_t* buffer_;
    uint64_t words_;
    uint32_t layer_ = 0, step_ = 0;
    char fault_[160] = "";
};
