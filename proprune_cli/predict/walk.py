"""Steps of many passes at once, and the loop model's walk over them: cycles and DDR bytes of networks whose programs
were never made.

The tile of each pass comes from `tiles`, what lies on chip and what steps wait for from `connections`, and its taps
are dealt evenly; the rest is the loop model itself (`proprune_cli.accel.timing`). What a row does not say: which taps
lie in which chunk and block, how many lane patterns they make, and whether planes are wider than what a pass reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.step_costs import StepCosts, limits
from proprune_cli.accel.timing import ends_of
from proprune_cli.predict.columns import Ints, Rows
from proprune_cli.predict.connections import Completion, Reads, needs, on_chip, waits
from proprune_cli.predict.tiles import Lanes, Tiles


@dataclass(frozen=True)
class Steps:
    """Steps of passes one after the other.

    Attributes:
        columns: fields of step descriptors, int64 [steps]. of: pass of each, [steps].
        starts: first step of each pass, and the end, [passes + 1].
        per_band: steps of a row of tiles, [passes]. tile_height: [passes].
        stored, loaded: words that each pass stores and cells that it loads, [passes].
    """

    columns: dict[str, Ints]
    of: Ints
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
    columns = {
        "y0": top * at("stride_h") - at("pad_h"),
        "x0": left * at("stride_w") - at("pad_w"),
        "rows": (tile_h - 1) * at("stride_h") + extent_h[of],
        "cols": (tile_w - 1) * at("stride_w") + extent_w[of],
        "oy0": top,
        "tile_height": tile_h,
        "tile_width": tile_w,
        "first_group": c0 * reach.per_chunk,
        "groups": groups,
        "iterations": beats * taps,
        "emit_groups": emit_groups * emits,
        "weight_words": words,
    }
    stored = np.add.reduceat(tile_h * tile_w * columns["emit_groups"], starts[:-1])
    loaded = np.add.reduceat(columns["rows"] * columns["cols"] * groups, starts[:-1])
    return Steps(columns, of, starts, across * segments, tiles.height, stored, loaded)


def walk(rows: Rows, steps: Steps, lanes: Lanes, array: Array, memory: Memory) -> tuple[Ints, Ints]:
    """Cycles and DDR bytes of each pass of networks, int64 [passes], as the loop model walks their steps."""
    chip = on_chip(rows, steps.stored, steps.loaded, array)
    costs = _costs(rows, steps, lanes, chip, array, memory)
    back = _waits(rows, steps).tolist()
    every, counts, common = costs.rows(), np.diff(steps.starts), limits(array, memory)
    moved = np.add.reduceat(costs.ddr_bytes, steps.starts[:-1])
    stops = np.flatnonzero(rows.passes["host_before"])
    cycles = np.zeros(len(counts), dtype=np.int64)
    for first, end in zip(rows.starts[:-1].tolist(), rows.starts[1:].tolist(), strict=True):
        part = slice(int(steps.starts[first]), int(steps.starts[end]))
        mine = set((stops[(stops >= first) & (stops < end)] - first).tolist())
        ends = ends_of(counts[first:end].tolist(), every[part], back[part], mine, common)
        cycles[first:end] = np.diff(np.round(ends), prepend=0)
    return cycles, moved


def _costs(rows: Rows, steps: Steps, lanes: Lanes, chip: NDArray[np.bool_], array: Array, memory: Memory) -> StepCosts:
    passes, of = rows.passes, steps.of
    patterns = np.where(lanes.count > 1, lanes.full + np.where(lanes.last != lanes.full, lanes.last, 0), lanes.full)
    layer = isa.LayerDescriptor(
        in_height=passes["in_h"][of],
        in_width=passes["in_w"][of],
        in_pitch=passes["in_w"][of],
        combine=passes["residual"].astype(np.int64)[of],
        broadcast=passes["broadcast"].astype(np.int64)[of],
        lookup=passes["lookup"].astype(np.int64)[of],
        out_step_x=passes["step_w"][of],
        pattern_count=np.minimum(patterns, array.max_patterns)[of],
        out_base=isa.ON_CHIP * chip.astype(np.int64)[of],
    )
    inputs, groups = rows.lists["inputs"], rows.lists["input_groups"].values
    there = (inputs.values >= 0) & chip[np.maximum(inputs.values, 0) + rows.starts[:-1][rows.owner][inputs.owner]]
    before = np.append(0, np.cumsum(np.repeat(there, groups)))
    first = np.append(0, np.cumsum(groups))[inputs.starts[:-1]][of] + steps.columns["first_group"]
    on_chip_groups = before[first + steps.columns["groups"]] - before[first]
    descriptors = isa.StepDescriptor(**steps.columns)
    # Runs of the engine end with networks, and before what the host computes.
    ends = steps.starts[1:] - 1
    last = np.append(np.asarray(passes["host_before"])[1:], 0).astype(np.bool_)
    last[rows.starts[1:] - 1] = True
    return StepCosts.of(layer, descriptors, np.diff(steps.starts), array, memory, on_chip_groups, ends[last])


def _waits(rows: Rows, steps: Steps) -> Ints:
    """Steps back to the latest one that must be complete before each step, int64 [steps]."""
    passes, columns, of = rows.passes, steps.columns, steps.of
    completion = Completion(steps.starts, steps.per_band, steps.tile_height)
    last_row = np.minimum(columns["y0"] + columns["rows"], passes["in_h"][of]) - 1
    groups = columns["first_group"], columns["first_group"] + columns["groups"]
    inputs = Reads.of(rows, "inputs", "input_row", "input_groups")
    need = needs(rows, inputs, completion, of, last_row, groups)
    if len(rows.lists["operands"].values):
        row = (columns["oy0"] + columns["tile_height"] - 1) * passes["step_h"][of]
        row = np.where(passes["broadcast"].astype(np.bool_)[of], 0, row)
        row = np.where(columns["emit_groups"] > 0, row, -1)
        operands = Reads.of(rows, "operands", "operand_row")
        every = np.zeros(len(of), dtype=np.int64), np.full(len(of), np.iinfo(np.int64).max)
        need = np.maximum(need, needs(rows, operands, completion, of, row, every))
    return waits(need)
