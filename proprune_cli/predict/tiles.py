"""The tile that the compiler is likely to choose for each of many passes at once, by closed formulas.

The compiler walks the steps of every tiling (`proprune_cli.compile.lower.tile`); here each of some tilings is summed
up in one expression, for all passes together, and the least one is taken. Taps are taken to lie evenly over chunks and
blocks, and layers among layers of their kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.step_costs import BLOCK_PAUSE, BURSTS_UNDER_WAY, STEP_RESTART, lone_cycles
from proprune_cli.accel.walk import DRAIN
from proprune_cli.work.taps import UNITS, chunks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DOWN = np.array([*range(1, 17), 18, 20, 22, 24, 28, 32, 40, 48, 56], dtype=np.float64)
ACROSS, NARROW = np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 56.0])
SHARES = np.array([1.0, 2.0, 4.0, 8.0])
"""Rows and columns of tiles, and parts of the chunks that fit, that are tried; narrow tiles where no wide one fits."""

_PASSES_AT_ONCE = 512
"""As many as keep the columns of all candidates in the processor's cache."""

_LEAST_AT_ONCE = 48
"""Passes below which those of the next size are looked at with them."""

SHAPE = ("kind", "in_channels", "in_slots", "out_channels", "kernel_h", "kernel_w", "stride_h", "stride_w",
         "dilation_h", "dilation_w", "in_h", "in_w", "out_h", "out_w", "step_w", "residual", "broadcast", "lookup",
         "taps", "fresh_taps", "binary_taps")  # fmt: skip
"""Columns of a pass that its tile depends on."""


@dataclass(frozen=True)
class Tiles:
    """Tilings of passes, int64 [passes] each.

    Attributes:
        height, width: of a full tile. run: chunks of a step. slots: blocks of a step.
        fits: bool; where it is not, the smallest tile stands there.
        cycles: that the expression gives, float64.
    """

    height: Ints
    width: Ints
    run: Ints
    slots: Ints
    fits: NDArray[np.bool_]
    cycles: NDArray[np.float64]


@dataclass(frozen=True)
class Lanes:
    """How channels of passes are dealt to lanes, int64 [passes] each.

    Attributes:
        own: the pass is diagonal or takes maxima, so that each chunk has a block of its own.
        full, last: taps of a full chunk and of the last one, were no weight 0.
    """

    own: NDArray[np.bool_]
    in_groups: Ints
    per_chunk: Ints
    count: Ints
    full: Ints
    last: Ints
    blocks: Ints
    out_groups: Ints

    @staticmethod
    def of(passes: Mapping[str, NDArray[Any]], array: Array) -> Lanes:
        """Of passes with columns `SHAPE`."""
        unit = np.select([passes["kind"] == name for name in UNITS], list(UNITS.values()))
        dealt = chunks(passes["in_slots"].astype(np.int64), unit, array.lane_counts)
        positions = (passes["kernel_h"] * passes["kernel_w"]).astype(np.int64)
        own = unit != UNITS["dense"]
        out = passes["out_channels"].astype(np.int64)
        return Lanes(
            own,
            dealt.in_groups,
            dealt.per_chunk,
            dealt.count,
            -(-positions // dealt.slots),
            -(-positions // dealt.last_slots),
            np.where(own, dealt.count, -(-out // array.oc)),
            -(-out // isa.GROUP),
        )

    def part(self, first: int, end: int) -> Lanes:
        """Those of some of the passes."""
        return Lanes(**{f.name: getattr(self, f.name)[first:end] for f in fields(self)})

    def before(self, chunk: Ints) -> Ints:
        """Taps of the chunks before ``chunk``, were no weight 0."""
        return np.where(chunk < self.count, chunk * self.full, (self.count - 1) * self.full + self.last)


def choose(passes: Mapping[str, NDArray[Any]], array: Array, memory: Memory) -> Tiles:
    """The likely tile of each pass.

    Args:
        passes: columns `SHAPE`.
    """
    unit = np.select([passes["kind"] == name for name in UNITS], list(UNITS.values())).astype(np.int64)
    keys = np.stack([passes[name].astype(np.int64) if name != "kind" else unit for name in SHAPE], axis=1)
    first, inverse = _distinct(keys)
    # Passes of one size side by side: they have the same candidates.
    kinds, heights = (unit[first] > 0).astype(np.int64), passes["out_h"][first]
    order = np.lexsort([heights, kinds])
    place = np.empty(len(first), dtype=np.int64)
    place[order] = np.arange(len(first))
    parts: list[Tiles] = []
    for part in _batches(np.stack([kinds[order], heights[order]])):
        some = first[order[part]]
        parts.append(_choose({name: passes[name][some] for name in SHAPE}, array, memory))
    at = place[inverse]
    return Tiles(*(np.concatenate([getattr(p, f.name) for p in parts])[at] for f in fields(Tiles)))


def _batches(keys: Ints) -> list[slice]:
    """Ranges of columns, sorted by ``keys`` [2, columns], that are looked at together: those that are the same, or as
    many as are worth it."""
    count = keys.shape[1]
    new = np.append(0, np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1).tolist()
    found: list[slice] = []
    begin = 0
    for end in [*new[1:], count]:
        if end - begin >= _LEAST_AT_ONCE or end == count or keys[0, end] != keys[0, begin]:
            found += [slice(at, min(at + _PASSES_AT_ONCE, end)) for at in range(begin, end, _PASSES_AT_ONCE)]
            begin = end
    return found


def _downs(heights: Floats) -> Floats:
    """Those of `DOWN` that give tiles which smaller ones do not give, for any of ``heights``."""
    distinct = np.unique(heights)[:, None]
    tall = np.where(distinct >= DOWN, np.ceil(distinct / DOWN), 0)
    _, first = np.unique(tall, axis=1, return_index=True)
    return DOWN[np.sort(first[tall[:, first].any(axis=0)])]


def _distinct(keys: Ints) -> tuple[Ints, Ints]:
    """Numbers of the first of rows that are the same, and which of those each row is."""
    order = np.lexsort(keys.T)
    new = np.ones(len(keys), dtype=np.bool_)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(new) - 1
    return order[new], inverse


def _choose(passes: Mapping[str, NDArray[Any]], array: Array, memory: Memory) -> Tiles:
    wide = _of_widths(passes, array, memory, ACROSS)
    if wide.fits.all():
        return wide
    narrow = _of_widths(passes, array, memory, NARROW)
    return Tiles(*(np.where(wide.fits, getattr(wide, f.name), getattr(narrow, f.name)) for f in fields(Tiles)))


def _of_widths(passes: Mapping[str, NDArray[Any]], array: Array, memory: Memory, widths: Floats) -> Tiles:
    # Whole numbers in float64: their quotients are rounded rightly, and vectors of them divide quickly.
    lanes = Lanes.of(passes, array)
    c = {name: passes[name].astype(np.float64)[:, None] for name in SHAPE if name != "kind"}
    own, count, blocks, in_groups, out_groups = (
        x[:, None] for x in (lanes.own, lanes.count, lanes.blocks, lanes.in_groups, lanes.out_groups)
    )
    h, w, taps, latency = c["out_h"], c["out_w"], c["taps"], memory.latency
    shares = SHARES[: 4 if lanes.own.any() else 2 if lanes.count.max() > 1 else 1]
    grid = np.meshgrid(widths[widths <= w.max()], _downs(h), shares, indexing="ij")
    across, down, share = (axis.reshape(1, -1) for axis in grid)
    tile_h, tile_w = np.ceil(h / down), np.ceil(w / across)
    extent = (c["kernel_h"] - 1) * c["dilation_h"] + 1
    rows = (tile_h - 1) * c["stride_h"] + extent
    cols = (tile_w - 1) * c["stride_w"] + (c["kernel_w"] - 1) * c["dilation_w"] + 1
    cells, pixels = rows * cols, tile_h * tile_w
    beats = np.maximum(np.ceil(pixels / array.px), array.min_beats)
    fit = np.floor(array.bank_depth / cells)
    fits = (fit > 0) & (beats <= array.acc_depth) & (down <= h) & (across <= w) & (own | (share <= 2))
    fit = np.maximum(fit, 1)
    run = np.where(count > 1, np.ceil(np.minimum(fit, count) / share), 1)
    slots = np.clip(np.floor(array.acc_depth / beats), 1, np.minimum(blocks, 255))
    runs = np.ceil(count / run)
    again = np.where(own | (runs == 1), 1, np.ceil(blocks / slots))
    segments = runs * again
    down, across = np.ceil(h / tile_h), np.ceil(w / tile_w)
    tiles = down * across
    low, narrow = h - (down - 1) * tile_h, w - (across - 1) * tile_w

    words = blocks * array.block_words * np.where(own, 1, runs)
    words += (c["fresh_taps"] - c["binary_taps"]) * array.tap_words + c["binary_taps"] * array.binary_tap_words
    words += (taps - c["fresh_taps"]) * array.reuse_tap_words
    weights = words / array.weight_port_words
    groups = in_groups * again
    reach = (h - 1) * c["stride_h"] + extent
    above = np.maximum(np.ceil((reach - c["in_h"]) / 2), 0)
    inside_w = np.minimum(cols, c["in_w"])
    whole = inside_w == c["in_w"]

    def fill_of(rows: Floats, inside: Floats) -> Floats:
        """Cycles to load a tile of ``rows``, some of which lie ``inside`` the input."""
        bursts = np.where(whole, 1, inside) * groups
        return _largest([rows * cols * groups, inside * inside_w * groups, bursts * latency / BURSTS_UNDER_WAY])

    inside_h = np.minimum(rows, c["in_h"])
    fetch = inside_h * inside_w * groups
    fill = fill_of(rows, inside_h)
    rows_low = (low - 1) * c["stride_h"] + extent
    below = np.maximum(reach - c["in_h"] - above, 0)
    top, bottom = fill_of(rows, np.minimum(rows - above, inside_h)), fill_of(rows_low, np.maximum(rows_low - below, 1))
    loading = across * np.where(down > 1, (down - 2) * fill + top + bottom, fill)
    per_word = np.where(c["step_w"] > 1, lone_cycles(memory), 1.0)
    has_residual = c["residual"] > 0
    read = np.where(c["broadcast"] > 0, out_groups, pixels * out_groups) * has_residual
    moved = (fetch + words + read) * isa.WORD_BYTES * tiles + h * w * out_groups * isa.WORD_BYTES
    describe = (2 * latency + isa.StepDescriptor.WORDS) * segments + groups
    # Words of a pixel in the last block, which leave after its last beat: its groups, one after the other.
    last_of = 2 * np.minimum(array.oc_groups, out_groups) - 1.0

    def busy_of(pixels: Floats) -> Floats:
        """Cycles of a tile of ``pixels``."""
        beats = np.maximum(np.ceil(pixels / array.px), array.min_beats)
        walk = beats * taps + STEP_RESTART * segments
        operand = np.where(c["broadcast"] > 0, 1, pixels) * out_groups * per_word
        return _largest([walk, weights, operand * has_residual])

    # Tiles of four sizes: whole ones, those of the last row, of the last column, and the corner.
    busy = busy_of(pixels)
    computing = (down - 1) * (across - 1) * busy + busy_of(low * narrow)
    computing += (across - 1) * busy_of(low * tile_w) + (down - 1) * busy_of(tile_h * narrow)
    last = np.maximum(low * narrow * last_of - np.maximum(np.ceil(low * narrow / array.px), array.min_beats), 0)
    pace = _largest([busy, fill, pixels * out_groups * per_word, describe])
    # Loads and stores slow each other down where a word of each is more than memory moves in a cycle.
    storing = h * w * out_groups * per_word + BLOCK_PAUSE * blocks * tiles
    word = isa.WORD_BYTES / memory.bytes_per_cycle
    slowed = np.minimum(fetch * tiles, h * w * out_groups) * max(2 * word - max(word, 1.0), 0.0)
    steady = _largest([computing, loading + slowed, tiles * describe, storing + slowed, moved / memory.bytes_per_cycle])
    # The first step waits for the rows that it reads; what the layer before still computes hides a part of that.
    wanted = np.ceil(np.clip(rows - above, 0, c["in_h"]) * h / c["in_h"])
    bands = np.minimum(np.ceil(wanted / tile_h), down)
    exposed = np.minimum(busy, fill) / segments + last + DRAIN + 2 * latency - (down - bands) * across * pace
    total = np.where(fits, np.round(steady + np.maximum(exposed, 0)), np.inf)
    best = np.argmin(total, axis=1)[:, None]

    def chosen(values: NDArray[Any]) -> Ints:
        return np.take_along_axis(values, best, axis=1)[:, 0].astype(np.int64)

    some = chosen(fits) > 0
    least = np.where(some, np.min(total, axis=1), computing.min(axis=1))
    return Tiles(chosen(tile_h), chosen(tile_w), chosen(run), chosen(slots), some, least)


def _largest(values: Sequence[NDArray[Any]]) -> Floats:
    return reduce(np.maximum, values)
