// Process: makes block heads and wide taps of the weight stream, one port transfer per cycle.
#pragma once

#include "types.hpp"

// One step.
template <typename A>
HLS_STEP bool assemble_step(stream<AssembleJob>& jobs, stream<WeightBeat<A>>& beats, stream<Block<A>>& blocks,
                            stream<Tap>& taps, stream<Weights<A>>& weights, stream<Scales<A>>& scales,
                            stream<Emit>& residual_emits, stream<Emit>& combine_emits, stream<Emit>& store_emits) {
    HLS_INLINE
    constexpr uint32_t PORT = A::WEIGHT_PORT_WORDS;
    constexpr uint32_t RECORD_WORDS = A::TAP_WORDS > A::BLOCK_WORDS ? A::TAP_WORDS : A::BLOCK_WORDS;
    static_assert(A::TAP_WORDS % PORT == 0 && A::BLOCK_WORDS % PORT == 0 && A::BINARY_TAP_WORDS % PORT == 0 &&
                      A::REUSE_TAP_WORDS % PORT == 0,
                  "records are padded to the weight port");

    const AssembleJob job = jobs.read();
    uint64_t record[RECORD_WORDS];
    HLS_PARTITION(record, 1)
    uint32_t filled = 0;    // words of the record present
    uint32_t length = 0;    // words of the record
    uint16_t taps_left = 0; // 0: the record is a block's head
    bool first = false;     // the record is the first tap of its block
transfers:
    for (uint32_t i = 0; i < job.words / PORT; ++i) {
        HLS_PIPELINE(1)
        HLS_TRIPCOUNT(0, 1048576, 8192)
        const WeightBeat<A> beat = beats.read();
    place:
        for (uint32_t slot = 0; slot < RECORD_WORDS; ++slot) {
            HLS_UNROLL
            if (slot - slot % PORT == filled) {
                record[slot] = word_of(beat, slot % PORT);
            }
        }
        const bool head = taps_left == 0;
        if (filled == 0) {
            const isa::TapHeader start{{word_of(beat, 0)}};
            length = head             ? A::BLOCK_WORDS
                     : start.reuse()  ? A::REUSE_TAP_WORDS
                     : start.binary() ? A::BINARY_TAP_WORDS
                                      : A::TAP_WORDS;
        }
        filled += PORT;
        if (filled == length) {
            filled = 0;
            if (head) {
                const isa::BlockHeader header{{record[0]}};
                Block<A> block;
                HLS_PARTITION(block.bias, 1)
                Scales<A> scale;
                HLS_PARTITION(scale.multiplier, 1)
            lanes:
                for (uint32_t o = 0; o < A::OC; ++o) {
                    HLS_UNROLL
                    block.bias[o] = (int32_t)(record[1 + o / 2] >> (o % 2 * 32));
                    scale.multiplier[o] = (uint16_t)(record[1 + A::OC / 2 + o / 4] >> (o % 4 * 16));
                }
                const uint32_t first_entry = (uint32_t)header.slot() * job.beats;
                HLS_FABRIC_MULTIPLY(first_entry)
                block.first_entry = first_entry;
                block.init = header.init();
                block.emit = header.emit();
                scale.groups = header.groups();
                blocks.write(block);
                if (header.emit()) {
                    const Emit emit{header.out_group(), header.groups()};
                    scales.write(scale);
                    residual_emits.write(emit);
                    combine_emits.write(emit);
                    store_emits.write(emit);
                }
                taps_left = header.taps();
                first = true;
            } else {
                const isa::TapHeader header{{record[0]}};
                taps.write(Tap{header.base(), header.pattern(), header.reuse(), first, taps_left == 1});
                first = false;
                if (!header.reuse()) {
                    Weights<A> values;
                    HLS_PARTITION(values.lane, 0)
                outputs:
                    for (uint32_t o = 0; o < A::OC; ++o) {
                        HLS_UNROLL
                    inputs:
                        for (uint32_t l = 0; l < A::IC; ++l) {
                            HLS_UNROLL
                            const uint32_t number = o * A::IC + l;
                            const int8_t byte = (int8_t)(record[1 + number / 8] >> (number % 8 * 8));
                            const bool plus = ((record[1 + number / 64] >> (number % 64)) & 1) != 0;
                            const bool counts = ((header.lanes() >> l) & 1) != 0;
                            const int8_t size = counts ? (int8_t)(1u << header.shift()) : (int8_t)0;
                            values.lane[o][l] = !header.binary() ? byte : plus ? size : (int8_t)-size;
                        }
                    }
                    weights.write(values);
                }
                --taps_left;
            }
        }
    }
    return !job.end;
}

// All steps of a run.
template <typename A>
void assemble(stream<AssembleJob>& jobs, stream<WeightBeat<A>>& beats, stream<Block<A>>& blocks, stream<Tap>& taps,
              stream<Weights<A>>& weights, stream<Scales<A>>& scales, stream<Emit>& residual_emits,
              stream<Emit>& combine_emits, stream<Emit>& store_emits) {
    HLS_NOINLINE
steps:
    for (bool more = true; more;) {
        HLS_TRIPCOUNT(1, 65535, 1024)
        more = assemble_step<A>(jobs, beats, blocks, taps, weights, scales, residual_emits, combine_emits, store_emits);
    }
}
