"""The tile that the compiler is likely to choose for each of many passes at once, by closed formulas.

The compiler walks the steps of every tiling (`proprune_cli.compile.lower.tile`); here each of a few tilings is summed up
in one expression, for all passes together, and the least one is taken. Taps are taken to lie evenly over chunks and
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
from proprune_cli.accel.timing import PIPELINE_DEPTH, STRIDED_STORE_CYCLES, Memory
from proprune_cli.work.taps import UNITS, chunks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DOWN = np.array([*range(1, 17), 18, 20, 22, 24, 28, 32, 40, 48, 56], dtype=np.float64)
ACROSS, NARROW = np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 56.0])
SHARES = np.array([1.0, 2.0, 4.0, 8.0])
"""Rows and columns of tiles, and parts of the chunks that fit, that are tried; narrow tiles where no wide one fits."""

_PASSES_AT_ONCE = 512
"""As many as keep the columns of all candidates in the processor's cache."""

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
    order = np.lexsort([passes["out_h"][first], unit[first] > 0])
    place = np.empty(len(first), dtype=np.int64)
    place[order] = np.arange(len(first))
    parts: list[Tiles] = []
    for begin in range(0, len(order), _PASSES_AT_ONCE):
        part = first[order[begin : begin + _PASSES_AT_ONCE]]
        parts.append(_choose({name: passes[name][part] for name in SHAPE}, array, memory))
    at = place[inverse]
    return Tiles(*(np.concatenate([getattr(p, f.name) for p in parts])[at] for f in fields(Tiles)))


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
    grid = np.meshgrid(widths[widths <= w.max()], DOWN[h.max() >= DOWN], shares, indexing="ij")
    across, down, share = (axis.reshape(1, -1) for axis in grid)
    tile_h, tile_w = np.ceil(h / down), np.ceil(w / across)
    rows = (tile_h - 1) * c["stride_h"] + (c["kernel_h"] - 1) * c["dilation_h"] + 1
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

    def beats_of(pixels: Floats) -> Floats:
        return np.maximum(np.ceil(pixels / array.px), array.min_beats)

    # What each process needs for all tiles: of those tiles there are four sizes.
    walked = (down - 1) * (across - 1) * beats + beats_of(low * narrow)
    walked += (across - 1) * beats_of(low * tile_w) + (down - 1) * beats_of(tile_h * narrow)
    compute = walked * taps + PIPELINE_DEPTH * tiles * segments
    words = blocks * array.block_words * np.where(own, 1, runs)
    words += (c["fresh_taps"] - c["binary_taps"]) * array.tap_words + c["binary_taps"] * array.binary_tap_words
    words += (taps - c["fresh_taps"]) * array.reuse_tap_words
    weights = words / array.weight_port_words + segments * latency
    groups = in_groups * again
    inside_h, inside_w = np.minimum(rows, c["in_h"]), np.minimum(cols, c["in_w"])
    fetch = inside_h * inside_w * groups
    bursts = np.where(inside_w == c["in_w"], 1, inside_h) * groups
    fill = np.maximum(cells * groups, fetch + bursts * latency) + segments * latency
    per_word = np.where(c["step_w"] > 1, STRIDED_STORE_CYCLES, 1)
    store = pixels * out_groups * per_word
    residual = np.where(c["broadcast"] > 0, out_groups, pixels * out_groups) * per_word + latency
    residual = residual * (c["residual"] > 0)
    last = pixels * array.oc_groups * per_word
    moved = (fetch + words + residual) * isa.WORD_BYTES * tiles + h * w * out_groups * isa.WORD_BYTES
    describe = (2 * latency + isa.StepDescriptor.WORDS) * segments + groups
    # Of one tile, as if all were full.
    walk = beats * taps + PIPELINE_DEPTH * segments
    busy = _largest([walk, weights, residual, store - last])
    pace = _largest([busy, fill, store, describe])
    steady = _largest(
        [compute + tiles * (busy - walk), tiles * fill, tiles * describe, h * w * out_groups * per_word,
         moved / memory.bytes_per_cycle]
    )  # fmt: skip
    # The first step waits for the rows that it reads; what the layer before still computes hides a part of that.
    reach = (h - 1) * c["stride_h"] + (c["kernel_h"] - 1) * c["dilation_h"] + 1
    above = np.maximum(np.ceil((reach - c["in_h"]) / 2), 0)
    wanted = np.ceil(np.clip(rows - above, 0, c["in_h"]) * h / c["in_h"])
    bands = np.minimum(np.ceil(wanted / tile_h), down)
    exposed = np.minimum(busy, fill) / segments + last + 2 * latency - (down - bands) * across * pace
    total = np.where(fits, np.round(steady + np.maximum(exposed, 0)), np.inf)
    best = np.argmin(total, axis=1)[:, None]

    def chosen(values: NDArray[Any]) -> Ints:
        return np.take_along_axis(values, best, axis=1)[:, 0].astype(np.int64)

    some = np.take_along_axis(fits, best, axis=1)[:, 0]
    least = np.where(some, np.min(total, axis=1), compute.min(axis=1))
    return Tiles(chosen(tile_h), chosen(tile_w), chosen(run), chosen(slots), some, least)


def _largest(values: Sequence[Floats]) -> Floats:
    return reduce(np.maximum, values)
