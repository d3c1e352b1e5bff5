"""The contract between compiler and engine: records, modes, registers. Declared here once; C++ is generated from it.

All tables live in one DDR buffer. An *address* is an offset in 64-bit words from its start. Words are little-endian.
``docs/engine.md`` says in prose what each record makes the engine do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from proprune_cli.accel.bitfield import Record, Value, bits

GROUP = 8
"""Channels of a channel group: one 64-bit word per pixel and group."""

WORD_BYTES = 8

WORD_BITS = 64

VERSION = 4
"""Raised when the meaning of a record changes without its fields changing."""

ON_CHIP = 1 << 31
"""Set in the address of a plane that lies in the engine's own memory: the other bits count words from its start."""

STEPS_IN_FLIGHT = 8
"""A step never starts to load before all but this many of the steps before it are complete."""


class Mode(IntEnum):
    """What a layer's taps do to the accumulator."""

    MAC = 0
    """Multiply and accumulate, then requantise."""
    MAX = 1
    """Maximum of the input codes; no weights are applied and nothing is requantised."""


class Combine(IntEnum):
    """What the output stage does with the residual operand."""

    NONE = 0
    ADD = 1
    MULTIPLY = 2


class Lookup(IntEnum):
    """Where the output stage replaces codes by a table's."""

    NONE = 0
    BEFORE = 1
    """After requantisation and its ReLU, before the combination."""
    AFTER = 2
    """After the combination and its ReLU."""


@dataclass(frozen=True)
class LayerDescriptor(Record):
    """One layer: what all its steps share."""

    WORDS: ClassVar[int] = 12

    mode: Value = bits(0, 0, 2, "Mode")
    relu_before: Value = bits(0, 2, 1, "clamp at 0 after requantisation, before the lookup and the combination")
    combine: Value = bits(0, 3, 2, "Combine: what is done with the residual operand")
    subtract: Value = bits(0, 5, 1, "the residual operand is subtracted instead of added")
    broadcast: Value = bits(0, 6, 1, "a residual plane is one word, which serves every pixel")
    relu_after: Value = bits(0, 7, 1, "clamp at 0 after the combination")
    shift_a: Value = bits(0, 8, 4, "left shift of the result (ADD) or of the product (MULTIPLY)")
    shift_b: Value = bits(0, 12, 4, "left shift of the residual operand (ADD)")
    shift_y: Value = bits(0, 16, 4, "right shift, half to even, of the sum or product")
    lookup: Value = bits(0, 20, 2, "Lookup: where the table is applied")
    pad_value: Value = bits(0, 24, 8, "code of input cells outside the image", signed=True)
    stride_y: Value = bits(0, 32, 8, "tile rows from one output row to the next")
    stride_x: Value = bits(0, 40, 8, "tile cells from one output pixel to the next")
    groups_per_chunk: Value = bits(
        0, 48, 4, "channel groups of a chunk; in a chunk of n groups, part j of the lanes holds group j mod n"
    )

    step_table: Value = bits(1, 0, 32, "address of the StepDescriptors", address=True)
    step_count: Value = bits(1, 32, 16, "number of steps")

    in_width: Value = bits(2, 0, 16, "width of the input planes in pixels")
    in_height: Value = bits(2, 16, 16, "height of the input planes")
    group_table: Value = bits(
        2, 32, 32, "address of the input planes' addresses, a word per channel group", address=True
    )

    pitch: Value = bits(3, 0, 16, "bank cells from one tile row to the next")
    chunk_cells: Value = bits(3, 16, 16, "bank cells from one chunk to the next")
    pattern_table: Value = bits(3, 32, 32, "address of the lane patterns, IC/4 words each", address=True)

    out_base: Value = bits(4, 0, 32, "address of the first output plane's first pixel", address=True)
    out_plane: Value = bits(4, 32, 32, "words from one output plane to the next")

    out_pitch: Value = bits(5, 0, 16, "words from one row of an output plane to the next")
    out_step_y: Value = bits(5, 16, 4, "rows of the output plane from one output row of this layer to the next")
    out_step_x: Value = bits(5, 20, 4, "pixels of the output plane from one output pixel of this layer to the next")
    residual_table: Value = bits(
        5, 32, 32, "address of the residual planes' addresses, one word per output group", address=True
    )

    pattern_count: Value = bits(6, 0, 8, "number of lane patterns")
    in_pitch: Value = bits(6, 16, 16, "words from one row of an input plane to the next")
    lookup_table: Value = bits(6, 32, 32, "address of the table, 256 codes in 32 words", address=True)

    lane_select_0: Value = bits(8, 0, 48, "byte of the group word that lanes 0-15 take, 3 bits each")
    lane_select_1: Value = bits(9, 0, 48, "byte of the group word that lanes 16-31 take, 3 bits each")


@dataclass(frozen=True)
class StepDescriptor(Record):
    """One step of a layer: load an input tile, run blocks of taps over it, store what they emit."""

    WORDS: ClassVar[int] = 6

    y0: Value = bits(0, 0, 16, "input row of tile row 0; negative in the top padding", signed=True)
    x0: Value = bits(0, 16, 16, "input column of tile cell 0", signed=True)
    rows: Value = bits(0, 32, 16, "tile rows")
    cols: Value = bits(0, 48, 16, "tile columns")

    oy0: Value = bits(1, 0, 16, "first output row")
    ox0: Value = bits(1, 16, 16, "first output column")
    tile_height: Value = bits(1, 32, 16, "output rows")
    tile_width: Value = bits(1, 48, 16, "output columns")

    first_group: Value = bits(2, 0, 16, "index into the group table of the first channel group loaded")
    groups: Value = bits(2, 16, 16, "channel groups loaded")
    beats: Value = bits(2, 32, 16, "cycles of one tap: pixels / PX, rounded up, at least MIN_BEATS")
    blocks: Value = bits(2, 48, 16, "blocks in this step's part of the weight stream")

    weights: Value = bits(3, 0, 32, "address of this step's part of the weight stream", address=True)
    weight_words: Value = bits(3, 32, 32, "its length in words")

    taps: Value = bits(4, 0, 32, "taps of all blocks together")
    iterations: Value = bits(4, 32, 32, "taps * beats: the trip count of the accumulate loop")

    emit_blocks: Value = bits(5, 0, 16, "blocks that emit")
    emit_groups: Value = bits(5, 16, 16, "output groups they emit together")
    depends: Value = bits(
        5, 32, 8, "n > 0: loads only when the step n before it, and all before that, are complete; 0: STEPS_IN_FLIGHT"
    )


@dataclass(frozen=True)
class BlockHeader(Record):
    """Head of a block of taps in the weight stream; OC biases (int32) and OC multipliers (uint16) follow it."""

    WORDS: ClassVar[int] = 1

    taps: Value = bits(0, 0, 16, "taps of this block, at least 1")
    slot: Value = bits(0, 16, 8, "accumulator slot: entries slot*beats ... slot*beats + beats - 1")
    init: Value = bits(0, 24, 1, "the first tap starts from the bias (MAC) or from -128 (MAX)")
    emit: Value = bits(0, 25, 1, "the last tap sends its sums to the output stage")
    groups: Value = bits(0, 28, 4, "output groups emitted, 1 ... OC/8")
    out_group: Value = bits(0, 32, 16, "first output group")


@dataclass(frozen=True)
class TapHeader(Record):
    """Head of a tap; IC*OC weights (input lane fastest), int8 or of one bit, follow it unless ``reuse`` is set."""

    WORDS: ClassVar[int] = 1

    base: Value = bits(0, 0, 16, "bank cell added to every lane's address")
    pattern: Value = bits(0, 16, 8, "lane pattern: one more offset for each lane")
    reuse: Value = bits(0, 24, 1, "no weights follow: those of the previous tap serve again")
    binary: Value = bits(0, 25, 1, "the weights that follow are bits: set for 2^shift, clear for -2^shift")
    shift: Value = bits(0, 26, 3, "magnitude of the weights, as a power of two, at most 6 (binary)")
    lanes: Value = bits(0, 32, 32, "input lanes whose bits count; the others have weight 0 (binary)")


@dataclass(frozen=True)
class LayerCounters(Record):
    """What the engine writes back for each layer."""

    WORDS: ClassVar[int] = 4

    cycles: Value = bits(0, 0, 32, "clock ticks since the last write of the layer before, or the start")
    accumulate_span: Value = bits(0, 32, 32, "clock ticks inside the accumulate process; minus iterations = its stalls")
    iterations: Value = bits(1, 0, 32, "iterations of the accumulate loop")
    taps: Value = bits(1, 32, 32, "taps walked")
    fetch_words: Value = bits(2, 0, 32, "input words read")
    weight_words: Value = bits(2, 32, 32, "weight stream words read")
    residual_words: Value = bits(3, 0, 32, "residual words read")
    store_words: Value = bits(3, 32, 32, "output words written")


RECORDS: tuple[type[Record], ...] = (LayerDescriptor, StepDescriptor, BlockHeader, TapHeader, LayerCounters)


@dataclass(frozen=True)
class Register:
    """A register of the s_axilite bundle."""

    name: str
    offset: int
    width: int
    access: str
    doc: str


# Offsets follow the rule of Vitis HLS: control block at 0x00, arguments from 0x10, a 64-bit argument takes 12 bytes
# (two data words and a reserved one), a 32-bit input 8, a 32-bit output 16 (data, valid flag and two reserved words).
REGISTERS: tuple[Register, ...] = (
    Register("control", 0x00, 32, "rw", "bit 0 start, bit 1 done (clears on read), bit 2 idle, bit 3 ready"),
    Register("features", 0x10, 64, "rw", "byte address of the buffer, as read for input tiles"),
    Register("weights", 0x1C, 64, "rw", "the same address, as read for the weight stream"),
    Register("residual", 0x28, 64, "rw", "the same address, as read for residual operands"),
    Register("descriptors", 0x34, 64, "rw", "the same address, as read for descriptors"),
    Register("results", 0x40, 64, "rw", "the same address, as written for outputs and counters"),
    Register("layer_table", 0x4C, 32, "rw", "address of the LayerDescriptors"),
    Register("step_count", 0x54, 32, "rw", "steps to run, those of whole layers; 0 reports the digest and returns"),
    Register("counters", 0x5C, 32, "rw", "address of the LayerCounters"),
    Register("digest", 0x64, 32, "r", "first 32 bits of the contract digest"),
    Register("completed", 0x74, 32, "r", "steps completed"),
)
