"""The taps of an engine layer before tiling: which of them exist for each block, and their weights.

A *unit* is one chunk of channel groups and one range of kernel rows. Kernel rows are split only where a single chunk
of a one-pixel tile would not fit the banks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.compile.lower.engine_layer import EngineLayer
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.window import Window
from proprune_cli.ops.lane_taps import Deal, choose_deals, lane_deals, needs, shared_deal
from proprune_cli.ops.taps import (
    LaneLayout,
    Positions,
    dense_weights,
    diagonal_weights,
    lane_layout,
    positions,
    signs_alone,
)


@dataclass(frozen=True)
class Unit:
    """Taps that read one chunk through one range of kernel rows.

    Attributes:
        weights: int8 [blocks, taps, OC, IC] (dense), [1, taps, OC, IC] (diagonal: the chunk's own block), None (max).
        keep: bool [blocks or 1, taps]: taps with a weight other than 0.
        fresh: bool, the same shape: kept taps that bring weights; the others repeat those of the tap before.
        binary: bool, the same shape: fresh taps whose weights are +1 or -1, in lanes that have any, in every filter.
        possible: taps of all blocks, had every weight been other than 0.
        own_offsets: lanes read positions of their own.
    """

    chunk: int
    served: Positions
    weights: NDArray[np.int8] | None
    keep: NDArray[np.bool_]
    fresh: NDArray[np.bool_]
    binary: NDArray[np.bool_]
    possible: int
    own_offsets: bool = False


@dataclass(frozen=True)
class TapCounts:
    """How many taps a layer has, and of which kinds: all that tiling asks of them.

    Attributes:
        row_ranges: kernel row ranges [first, last).
        blocks: blocks of OC output channels. Diagonal and max layers have one block per chunk.
    """

    layout: LaneLayout
    row_ranges: tuple[tuple[int, int], ...]
    blocks: int

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """Taps of each block: int64 [row ranges, chunks, blocks (1 where ``own_block``)]."""
        raise NotImplementedError

    @cached_property
    def fresh(self) -> NDArray[np.int64]:
        """Those that bring weights, likewise."""
        raise NotImplementedError

    @cached_property
    def binary(self) -> NDArray[np.int64]:
        """Those whose weights are of one bit, likewise."""
        raise NotImplementedError

    @property
    def own_block(self) -> bool:
        """Each chunk feeds the block of its own number alone."""
        return self.layout.kind != "dense"

    @cached_property
    def kept_sums(self) -> NDArray[np.int64]:
        """Sums of :attr:`kept` over the first c chunks and b blocks: int64 [row ranges, chunks + 1, blocks + 1]."""
        return _sums(self.kept)

    @cached_property
    def fresh_sums(self) -> NDArray[np.int64]:
        """The same for the taps that bring weights."""
        return _sums(self.fresh)

    @cached_property
    def binary_sums(self) -> NDArray[np.int64]:
        """The same for those whose weights are of one bit."""
        return _sums(self.binary)

    def count(self, sums: NDArray[np.int64], row_range: int, chunks: tuple[int, int], blocks: tuple[int, int]) -> int:
        """Taps of ``chunks`` in ``blocks``, from one of the tables of sums."""
        (c0, c1), (b0, b1) = chunks, (0, 1) if self.own_block else blocks
        table = sums[row_range]
        return int(table[c1, b1] - table[c0, b1] - table[c1, b0] + table[c0, b0])

    def count_empty(self, row_range: int, chunks: tuple[int, int], blocks: tuple[int, int]) -> int:
        """Blocks that have no tap in ``chunks``; a dense one gets a tap of zero weights, to start from its bias."""
        if self.own_block or self._always_some:
            return 0
        kept = self.kept[row_range, chunks[0] : chunks[1], blocks[0] : blocks[1]]
        return int((kept.sum(axis=0) == 0).sum())

    @cached_property
    def _always_some(self) -> bool:
        return bool(self.kept.min() > 0)


@dataclass(frozen=True)
class LayerTaps(TapCounts):
    """All units of a layer, ``units[row_range][chunk]``, and the blocks they feed."""

    units: tuple[tuple[Unit, ...], ...]

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """See `TapCounts`."""
        return _per_block([[u.keep for u in row] for row in self.units])

    @cached_property
    def fresh(self) -> NDArray[np.int64]:
        """See `TapCounts`."""
        return _per_block([[u.fresh for u in row] for row in self.units])

    @cached_property
    def binary(self) -> NDArray[np.int64]:
        """See `TapCounts`."""
        return _per_block([[u.binary for u in row] for row in self.units])


def _per_block(taps: list[list[NDArray[np.bool_]]]) -> NDArray[np.int64]:
    """How many of the taps of each unit are true: int64 [row ranges, chunks, blocks]."""
    found: list[NDArray[np.int64]] = []
    for row in taps:
        ends = np.cumsum([one.shape[1] for one in row])
        starts = np.concatenate([[0], ends[:-1]])
        found.append(np.add.reduceat(np.concatenate(row, axis=1), starts, axis=1, dtype=np.int64).T)
    return np.stack(found)


def _sums(table: NDArray[np.int64]) -> NDArray[np.int64]:
    ranges, chunks, blocks = table.shape
    sums = np.zeros((ranges, chunks + 1, blocks + 1), dtype=np.int64)
    table.cumsum(axis=1).cumsum(axis=2, out=sums[:, 1:, 1:])
    return sums


def kernel_row_ranges(layer: EngineLayer, array: Array) -> tuple[tuple[int, int], ...]:
    """Split the kernel's rows so that each range of a one-pixel tile fits one bank.

    Raises:
        DoesNotFitError: not even one kernel row fits.
    """
    height, width = layer.window.kernel
    cells = (width - 1) * layer.window.dilation[1] + 1
    rows = (array.bank_depth // cells - 1) // layer.window.dilation[0] + 1
    if cells > array.bank_depth:
        raise DoesNotFitError(
            f"one row of the {height}×{width} kernel spans {cells} cells; a lane bank of array {array.name} "
            f"holds {array.bank_depth}",
            where=layer.place,
            remedy="pool in two steps, or choose an array with deeper banks",
        )
    return tuple((first, min(first + rows, height)) for first in range(0, height, rows))


def build_taps(layer: EngineLayer, array: Array) -> LayerTaps:
    """Enumerate the taps of ``layer`` on ``array`` and drop those whose weights are all 0."""
    row_ranges = kernel_row_ranges(layer, array)
    layout = lane_layout(layer.in_slots, array, layer.kind)
    blocks = layout.chunks if layer.kind != "dense" else -(-layer.channels // array.oc)
    if layer.kind == "dense":
        units = _dense_units(layer, layout, row_ranges, array)
    else:
        units = tuple(
            tuple(_unit(layer, layout, chunk, rows, array) for chunk in range(layout.chunks)) for rows in row_ranges
        )
    return LayerTaps(layout, row_ranges, blocks, units)


def _dense_units(
    layer: EngineLayer, layout: LaneLayout, row_ranges: tuple[tuple[int, int], ...], array: Array
) -> tuple[tuple[Unit, ...], ...]:
    """Units of a convolution: lanes share kernel positions, or have their own where that takes fewer taps."""
    weight = layer.weight
    assert weight is not None, "a dense layer has weights"
    keys = [(rows, chunk) for rows in row_ranges for chunk in range(layout.chunks)]
    deals = deal_units(needs(weight, array.oc), layout, row_ranges, layer.window, array)
    units = [
        _dense_unit(weight, layout, chunk, deal, shared, array)
        for (_, chunk), (deal, shared) in zip(keys, deals, strict=True)
    ]
    return tuple(tuple(units[at : at + layout.chunks]) for at in range(0, len(units), layout.chunks))


def deal_units(
    need: NDArray[np.bool_],
    layout: LaneLayout,
    row_ranges: tuple[tuple[int, int], ...],
    window: Window,
    array: Array,
) -> list[tuple[Deal, int]]:
    """How the lanes of each unit go through the kernel, row range by row range, chunk by chunk.

    Args:
        need: where a block has any weight, bool [blocks, in slots, positions].

    Returns:
        Of each unit its deal, and the taps that a block would have if no weight were 0.
    """
    width = window.kernel[1]
    keys = [(rows, chunk) for rows in row_ranges for chunk in range(layout.chunks)]
    choices = [_deals(layout, chunk, (rows[0] * width, rows[1] * width), need) for rows, chunk in keys]
    if any(len(deals) > 1 for deals in choices):
        deals = choose_deals(choices, width, window.dilation, array.max_patterns)
    else:
        deals = [one for (one,) in choices]
    return [(deal, len(shared[0].served.table)) for deal, shared in zip(deals, choices, strict=True)]


def _first_channel(layout: LaneLayout, chunk: int) -> int:
    return chunk * layout.groups_per_chunk * isa.GROUP


def _deals(layout: LaneLayout, chunk: int, rows: tuple[int, int], need: NDArray[np.bool_]) -> list[Deal]:
    """The ways to deal a unit's kernel positions that may be worth it, the shared one first."""
    lanes, first = layout.lanes(chunk), _first_channel(layout, chunk)
    shared = shared_deal(positions(rows[0], rows[1] - rows[0], lanes), need, first, lanes)
    # A block that has every weight of the chunk's fullest channel saves nothing.
    mine = need[:, first : first + lanes.groups * isa.GROUP, rows[0] : rows[1]]
    fullest = -(-mine.sum(axis=2).max(axis=1, initial=0) // lanes.slots)
    if int(fullest.sum()) >= shared.kept:
        return [shared]
    return [shared, *lane_deals(rows, need, first, lanes)]


def _dense_unit(
    weight: NDArray[np.int8], layout: LaneLayout, chunk: int, deal: Deal, possible: int, array: Array
) -> Unit:
    weights = dense_weights(weight, _first_channel(layout, chunk), layout.lanes(chunk), deal.served, array.oc)
    if deal.own_offsets:
        weights = weights * deal.owns[:, :, None, None]
    keep = np.asarray(weights.any(axis=(2, 3)))
    binary = keep & signs_alone(weights, len(weight))
    return Unit(chunk, deal.served, weights, keep, keep, binary, possible * len(keep), deal.own_offsets)


def _unit(layer: EngineLayer, layout: LaneLayout, chunk: int, rows: tuple[int, int], array: Array) -> Unit:
    """A unit of a layer whose chunks feed blocks of their own."""
    lanes = layout.lanes(chunk)
    width = layer.window.kernel[1]
    served = positions(rows[0] * width, (rows[1] - rows[0]) * width, lanes)
    if layer.weight is None:
        keep = np.ones((1, served.taps), dtype=np.bool_)
        none = np.zeros_like(keep)
        return Unit(chunk, served, None, keep, none, none, served.taps)
    weights = diagonal_weights(layer.weight, _first_channel(layout, chunk), lanes, served, array.oc)[None]
    # Every depthwise tap is walked: its weights are seldom 0, and constant ones (average pooling) are sent once.
    keep = np.ones(weights.shape[:2], dtype=np.bool_)
    fresh = keep.copy()
    fresh[0, 1:] = (weights[0, 1:] != weights[0, :-1]).any(axis=(1, 2))
    return Unit(chunk, served, weights, keep, fresh, np.zeros_like(keep), served.taps)
