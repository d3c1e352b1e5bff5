"""Steps of many passes at once, and the loop model's walk over them: cycles and DDR bytes of networks whose programs
were never made.

The tile of each pass comes from `tiles`, its operands from `connections`, and its taps are dealt evenly; the rest is
the loop model itself (`proprune_cli.accel.timing`). What it can't know of a row: which taps lie in which chunk and
block, padding that is not the same on both sides, and operands that shapes do not tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.timing import Memory, estimate_passes
from proprune_cli.predict.connections import Operands, on_chip, operands
from proprune_cli.predict.tiles import Lanes, Tiles

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Steps:
    """Steps of passes one after the other.

    Attributes:
        columns: fields of step descriptors, int64 [steps]. starts: first step of each pass, and the end, [passes + 1].
        per_band: steps of a row of tiles, [passes]. tile_height: [passes].
        stored, loaded: words that each pass stores and cells that it loads, [passes].
    """

    columns: dict[str, Ints]
    starts: Ints
    per_band: Ints
    tile_height: Ints
    stored: Ints
    loaded: Ints


def steps_of(passes: Mapping[str, NDArray[Any]], tiles: Tiles, lanes: Lanes, array: Array) -> Steps:
    """The steps of passes with their likely tiles."""
    h, w = passes["out_h"], passes["out_w"]
    down, across = -(-h // tiles.height), -(-w // tiles.width)
    runs = -(-lanes.count // tiles.run)
    many = ~lanes.own & (runs > 1)
    slots = np.where(many, tiles.slots, lanes.blocks)
    segments = np.where(many, runs * -(-lanes.blocks // slots), runs)
    counts = down * across * segments
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    of = np.repeat(np.arange(len(h)), counts)
    index = np.arange(starts[-1]) - starts[of]
    tile, segment = np.divmod(index, segments[of])
    row, column = np.divmod(tile, across[of])
    block_run, run = np.divmod(segment, runs[of])

    def at(name: str) -> Ints:
        return passes[name][of]

    top, left = row * tiles.height[of], column * tiles.width[of]
    tile_h, tile_w = np.minimum(tiles.height[of], h[of] - top), np.minimum(tiles.width[of], w[of] - left)
    beats = np.maximum(-(-tile_h * tile_w // array.px), array.min_beats)
    # Chunks and blocks of the segment, and its share of the taps, rounded so that all shares make the whole.
    c0 = run * tiles.run[of]
    c1 = np.minimum(c0 + tiles.run[of], lanes.count[of])
    own = lanes.own[of]
    b0 = np.where(own, c0, block_run * slots[of])
    b1 = np.where(own, c1, np.minimum(b0 + slots[of], lanes.blocks[of]))
    reach = Lanes(**{name: getattr(lanes, name)[of] for name in Lanes.__dataclass_fields__})
    whole = reach.before(lanes.count[of])
    before, after = reach.before(c0), reach.before(c1)
    part = np.where(own, 1, b1 - b0)
    low = np.where(own, before, b0 * whole + part * before) / np.where(own, whole, lanes.blocks[of] * whole)
    high = np.where(own, after, b0 * whole + part * after) / np.where(own, whole, lanes.blocks[of] * whole)

    def dealt(name: str) -> Ints:
        return (np.floor(high * at(name) + 0.5) - np.floor(low * at(name) + 0.5)).astype(np.int64)

    fresh, binary = dealt("fresh_taps"), dealt("binary_taps")
    taps = np.maximum(dealt("taps"), fresh)
    words = (b1 - b0) * array.block_words + (fresh - binary) * array.tap_words + binary * array.binary_tap_words
    words += (taps - fresh) * array.reuse_tap_words
    emits = own | ~many[of] | (run == runs[of] - 1)
    out_groups = lanes.out_groups[of]
    emit_groups = np.minimum(b1 * array.oc_groups, out_groups) - np.minimum(b0 * array.oc_groups, out_groups)
    groups = np.minimum(c1 * reach.per_chunk, reach.in_groups) - c0 * reach.per_chunk
    extent_h = (passes["kernel_h"] - 1) * passes["dilation_h"] + 1
    extent_w = (passes["kernel_w"] - 1) * passes["dilation_w"] + 1
    above = np.maximum(-(-((h - 1) * passes["stride_h"] + extent_h - passes["in_h"]) // 2), 0)
    beside = np.maximum(-(-((w - 1) * passes["stride_w"] + extent_w - passes["in_w"]) // 2), 0)
    columns = {
        "y0": top * at("stride_h") - above[of],
        "x0": left * at("stride_w") - beside[of],
        "rows": (tile_h - 1) * at("stride_h") + extent_h[of],
        "cols": (tile_w - 1) * at("stride_w") + extent_w[of],
        "oy0": top,
        "tile_height": tile_h,
        "tile_width": tile_w,
        "groups": groups,
        "iterations": beats * taps,
        "emit_groups": emit_groups * emits,
        "weight_words": words,
    }
    stored = np.add.reduceat(tile_h * tile_w * columns["emit_groups"], starts[:-1])
    loaded = np.add.reduceat(columns["rows"] * columns["cols"] * groups, starts[:-1])
    return Steps(columns, starts, across * segments, tiles.height, stored, loaded)


@dataclass(frozen=True)
class Walked:
    """What each pass of a network takes, [passes]: cycles, and DDR bytes."""

    cycles: Ints
    ddr_bytes: Ints


def walk(
    passes: Mapping[str, NDArray[Any]], steps: Steps, first: int, lanes: Lanes, array: Array, memory: Memory
) -> Walked:
    """Walk the steps of one network.

    Args:
        passes: its columns alone. steps: of many networks. first: the number of its first pass among theirs.
        lanes: of its passes.
    """
    count = len(passes["in_h"])
    begin, end = int(steps.starts[first]), int(steps.starts[first + count])
    starts = steps.starts[first : first + count + 1] - begin
    columns = {name: column[begin:end] for name, column in steps.columns.items()}
    found = operands(passes)
    mine = slice(first, first + count)
    chip = on_chip(passes, found, steps.stored[mine], steps.loaded[mine], array)
    per_pass = np.diff(starts)
    of = np.repeat(np.arange(count), per_pass)
    share = _share_on_chip(passes, found, chip)
    distance = _waits(passes, steps, mine, starts, of, columns, found)
    descriptors = [
        isa.LayerDescriptor(
            in_height=h, in_width=w, in_pitch=w, combine=int(residual), broadcast=int(broadcast), lookup=int(lookup),
            out_step_x=step,
        )
        for h, w, residual, broadcast, lookup, step in zip(
            *(passes[n].tolist() for n in ("in_h", "in_w", "residual", "broadcast", "lookup", "step_w")), strict=True
        )
    ]  # fmt: skip
    patterns = np.where(lanes.count > 1, lanes.full + np.where(lanes.last != lanes.full, lanes.last, 0), lanes.full)
    timing = estimate_passes(
        tuple([""] * count),
        descriptors,
        [isa.StepDescriptor(**columns)],
        np.minimum(patterns, array.max_patterns).tolist(),
        chip.tolist(),
        [np.round(columns["groups"] * share[of]).astype(np.int64)],
        np.split(distance, starts[1:-1]),
        tuple(np.flatnonzero(passes["host_before"]).tolist()),
        array,
        memory,
    )
    return Walked(
        np.array([layer.cycles for layer in timing.layers]), np.array([layer.ddr_bytes for layer in timing.layers])
    )


def _share_on_chip(passes: Mapping[str, NDArray[Any]], found: Operands, chip: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Part of each pass's input that lies on chip, [passes]."""
    channels, wanted = passes["out_channels"].tolist(), passes["in_channels"].tolist()
    there = chip.tolist()
    return np.array(
        [
            min(sum(channels[m] for m in makers if there[m]) / n, 1.0)
            for makers, n in zip(found.inputs, wanted, strict=True)
        ]
    )


def _waits(
    passes: Mapping[str, NDArray[Any]],
    steps: Steps,
    mine: slice,
    starts: Ints,
    of: Ints,
    columns: dict[str, Ints],
    found: Operands,
) -> Ints:
    """Steps back to the latest one that must be complete, as the field ``depends``, int64 [steps]."""
    height, per_band = steps.tile_height[mine], steps.per_band[mine]
    made_h = passes["out_h"] * passes["step_w"]
    need = np.zeros(len(of), dtype=np.int64)

    def complete(maker: Ints, row: Ints, rows: Ints) -> Ints:
        """Steps that complete ``row`` of ``rows`` of what ``maker`` makes; -1: nobody that is known."""
        at = np.maximum(maker, 0)
        row = np.clip(row - np.maximum(rows - made_h[at], 0), -1, made_h[at] - 1) // passes["step_w"][at]
        done = np.minimum(starts[at] + (row // height[at] + 1) * per_band[at], starts[at + 1])
        return np.where((maker >= 0) & (row >= 0), done, 0)

    last_row = np.minimum(columns["y0"] + columns["rows"], passes["in_h"][of]) - 1
    for place in range(max(len(makers) for makers in found.inputs)):
        maker = np.array([makers[place] if place < len(makers) else -1 for makers in found.inputs])
        need = np.maximum(need, complete(maker[of], last_row, passes["in_h"][of]))
    if max(found.residual) >= 0:
        row = (columns["oy0"] + columns["tile_height"] - 1) * passes["step_w"][of]
        row = np.where(passes["broadcast"][of], 0, row)
        other = complete(np.array(found.residual)[of], row, made_h[of])
        need = np.maximum(need, other * (columns["emit_groups"] > 0))
    distance = np.arange(len(of)) + 1 - need
    return np.where((distance < isa.STEPS_IN_FLIGHT) & (distance > 0), distance, 0)
