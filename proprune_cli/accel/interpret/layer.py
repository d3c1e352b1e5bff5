"""One layer: its steps one after the other, with the accumulators that live across them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.deadline import Deadline
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.machine import Layer, decode_layer
from proprune_cli.accel.interpret.memory import Memory
from proprune_cli.accel.interpret.order import Turn, turn_of
from proprune_cli.accel.interpret.output import emit
from proprune_cli.accel.interpret.stream import TapList, decode_stream
from proprune_cli.accel.interpret.taps import Contribution, Tile, contribute
from proprune_cli.accel.interpret.tile import load_tile

ACCUMULATOR_LIMIT = 1 << 24
"""No sum may reach this magnitude: float32, in which the reference forms its sums, holds every such integer."""

MAX_START = -128
"""What a MAX accumulator starts from."""


@dataclass
class Counts:
    """What a layer's LayerCounters report."""

    iterations: int = 0
    taps: int = 0
    fetch_words: int = 0
    weight_words: int = 0
    residual_words: int = 0
    store_words: int = 0


@dataclass
class Accumulators:
    """``acc_depth`` entries of PX × OC sums, as int64 [OC, acc_depth * PX] so that an overflow shows.

    ``valid`` tells entries that hold something meaningful: started in this layer, from cells that were loaded.
    """

    array: Array
    values: NDArray[np.int64] = field(init=False)
    valid: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.array.oc, self.array.acc_depth * self.array.px)
        self.values = np.zeros(shape, dtype=np.int64)
        self.valid = np.zeros(shape, dtype=np.bool_)


def run_layer(
    array: Array, descriptor: isa.LayerDescriptor, memory: Memory, done: int, site: Site, deadline: Deadline
) -> Counts:
    """Run one layer on ``memory``.

    Args:
        descriptor: with plain integers (a row).
        done: steps of the run before this layer.
        deadline: of the run.

    Raises:
        InputError: the layer is inconsistent; the error names step and block.
        BoardError: the deadline has passed.
    """
    layer = decode_layer(array, descriptor, memory, site)
    memory.start_layer(done + 1, int(descriptor.step_count))
    words = isa.StepDescriptor.WORDS * int(descriptor.step_count)
    steps = isa.StepDescriptor.decode(memory.table(int(descriptor.step_table), words, site, "the step table"))
    rows = [steps.row(i) for i in range(int(descriptor.step_count))]
    turns = [turn_of(s, done + 1 + number, site.at_step(number)) for number, s in enumerate(rows)]
    runner = _Runner(layer, memory, Accumulators(array), Counts(), rows, turns, site)
    for number in range(len(rows)):
        deadline.check("the interpreter")
        runner.step(number)
    return runner.counts


StreamKey = tuple[int, int, int]
"""Address, length and block count of a step's weight stream."""


def _stream_key(s: isa.StepDescriptor) -> StreamKey:
    return int(s.weights), int(s.weight_words), int(s.blocks)


BATCH_PIXELS = 2048
"""Output pixels of steps with the same taps that are computed together."""


@dataclass(frozen=True)
class _Ready:
    """A step whose taps have been worked through, waiting for its turn at the accumulators."""

    taps: TapList
    tile: Tile
    given: Contribution


@dataclass
class _Runner:
    layer: Layer
    memory: Memory
    accumulators: Accumulators
    counts: Counts
    steps: list[isa.StepDescriptor]
    turns: list[Turn]
    site: Site
    ready: dict[int, _Ready] = field(default_factory=dict[int, _Ready])

    def step(self, number: int) -> None:
        """Run a step; steps run in order."""
        s, site = self.steps[number], self.site.at_step(number)
        if number not in self.ready:
            self._prepare(number)
        ready = self.ready.pop(number)
        taps, banks = ready.taps, ready.tile.banks
        banks.check_unwritten(self.layer, self.memory, site)
        for block in range(taps.block_count):
            given = ready.given.values[block], ready.given.valid[block]
            self._block(s, taps, block, *given, self.turns[number], site.at_block(block))
        counts = self.counts
        counts.fetch_words += banks.fetch_words
        counts.weight_words += int(s.weight_words)
        counts.taps += taps.tap_count
        counts.iterations += taps.tap_count * int(s.beats)

    def _prepare(self, first: int) -> None:
        """Load step ``first``, and later steps with the same weight stream, and work through their taps.

        Loading ahead is right because a step may not read what another step of its layer wrote, which is checked when
        its turn comes, and of other layers' words it sees those that it waits for, whenever it is loaded; accumulators
        and output are dealt with when its turn comes.
        """
        key = _stream_key(self.steps[first])
        taps = self._decode(key, self.site.at_step(first))
        numbers: list[int] = []
        tiles: list[Tile] = []
        pixels = 0
        for number in range(first, len(self.steps)):
            s, site = self.steps[number], self.site.at_step(number)
            if _stream_key(s) != key:
                continue
            _check_geometry(self.layer, s, site)
            _check_redundant(taps, s, site)
            banks = load_tile(self.layer, s, self.memory, self.turns[number].complete, site)
            tile = Tile(banks, _pixel_cells(self.layer, s), site)
            numbers.append(number)
            tiles.append(tile)
            pixels += tile.pixel.size
            if pixels >= BATCH_PIXELS:
                break
        for number, tile, given in zip(numbers, tiles, contribute(self.layer, taps, tiles), strict=True):
            self.ready[number] = _Ready(taps, tile, given)

    def _decode(self, key: StreamKey, site: Site) -> TapList:
        address, words, blocks = key
        port = self.layer.array.weight_port_words
        if address % port:
            raise site.fault(f"the weight stream's address {address} is not a multiple of the port's {port} words")
        stream = self.memory.table(address, words, site, "the weight stream")
        return decode_stream(self.layer.array, stream, blocks, self.layer.is_max, site)

    def _block(
        self,
        s: isa.StepDescriptor,
        taps: TapList,
        number: int,
        given: NDArray[np.int64],
        valid: NDArray[np.bool_],
        turn: Turn,
        site: Site,
    ) -> None:
        """Add one block's contribution, int64 [OC, P], to its accumulators and emit if it says so."""
        array, block = self.layer.array, taps.blocks.row(number)
        beats, slot, pixels = int(s.beats), int(block.slot), given.shape[1]
        if (slot + 1) * beats > array.acc_depth:
            raise site.fault(f"slot {slot} of {beats} beats ends beyond the {array.acc_depth} accumulator entries")
        # Pixels past the tile's last read from cell 0, as pixel 0 does, so they hold the sums of pixel 0.
        whole = np.empty((array.oc, beats * array.px), dtype=np.int64)
        whole[:, :pixels] = given
        whole[:, pixels:] = given[:, :1]
        entries = slice(slot * beats * array.px, (slot + 1) * beats * array.px)
        sums = self.accumulators.values[:, entries]
        if block.init:
            sums[...] = MAX_START if self.layer.is_max else taps.bias[number][:, None]
            self.accumulators.valid[:, entries] = True
        if self.layer.is_max:
            np.maximum(sums, whole, out=sums)
        else:
            sums += whole
        self.accumulators.valid[:, entries] &= valid[:, None]
        if max(int(sums.max()), -int(sums.min())) >= ACCUMULATOR_LIMIT:
            raise site.fault(f"an accumulator reaches {ACCUMULATOR_LIMIT}, past which results are not exact")
        if block.emit:
            started = self.accumulators.valid[:, entries][:, :pixels]
            self._emit(s, taps, number, block, sums[:, :pixels], started, turn, site)

    def _emit(
        self,
        s: isa.StepDescriptor,
        taps: TapList,
        number: int,
        block: isa.BlockHeader,
        sums: NDArray[np.int64],
        valid: NDArray[np.bool_],
        turn: Turn,
        site: Site,
    ) -> None:
        groups = int(block.groups)
        if not 1 <= groups <= self.layer.array.oc_groups:
            raise site.fault(f"the block emits {groups} groups; the array can emit 1 to {self.layer.array.oc_groups}")
        if not valid[: groups * isa.GROUP].all():
            raise site.fault("the block emits accumulators that were never started or come from cells never loaded")
        stored, residual = emit(self.layer, s, block, taps.multiplier[number], sums, self.memory, turn, site)
        self.counts.store_words += stored
        self.counts.residual_words += residual


def _pixel_cells(layer: Layer, s: isa.StepDescriptor) -> NDArray[np.int64]:
    """int64 [P]: the bank cell that each real output pixel reads from, before base and pattern."""
    y = np.arange(int(s.tile_height), dtype=np.int64) * (int(layer.d.stride_y) * int(layer.d.pitch))
    x = np.arange(int(s.tile_width), dtype=np.int64) * int(layer.d.stride_x)
    return (y[:, None] + x).reshape(-1)


def _check_geometry(layer: Layer, s: isa.StepDescriptor, site: Site) -> None:
    array = layer.array
    height, width = int(s.tile_height), int(s.tile_width)
    if min(height, width) < 1:
        raise site.fault(f"an empty output tile of {height} × {width}")
    beats = max(-(-height * width // array.px), array.min_beats)
    if int(s.beats) != beats:
        raise site.fault(f"beats is {s.beats}, but {height * width} pixels take {beats}")


def _check_redundant(taps: TapList, s: isa.StepDescriptor, site: Site) -> None:
    """Compare the counts in the descriptor with those of the weight stream."""
    emits = np.asarray(taps.blocks.emit, dtype=np.bool_)
    counted = {
        "taps": taps.tap_count,
        "iterations": taps.tap_count * int(s.beats),
        "emit_blocks": int(emits.sum()),
        "emit_groups": int(np.asarray(taps.blocks.groups)[emits].sum()),
    }
    for name, value in counted.items():
        if int(getattr(s, name)) != value:
            raise site.fault(f"{name} is {getattr(s, name)}, but the weight stream has {value}")
