"""Tiling: which output tile, chunks and blocks each step handles. The timing model chooses; ties go to fewer steps."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.timing import PIPELINE_DEPTH, LayerTiming, Memory, layer_timing
from proprune_cli.compile.lower.engine_layer import EngineLayer
from proprune_cli.compile.lower.layer_taps import TapCounts
from proprune_cli.compile.lower.segments import Segment, SegmentLoad, Split, loads_of, runs_worth_trying, split
from proprune_cli.errors import DoesNotFitError

MAX_TILES_PER_AXIS = 56
"""Tilings finer than this per axis are not considered unless nothing coarser fits."""


@dataclass(frozen=True)
class Tiling:
    """A layer's tiling.

    Attributes:
        tile: output rows and columns of a full tile.
        pitch, chunk_cells: as in the layer descriptor.
        segments: run in this order at each tile.
        layer: descriptor with every field but the addresses.
        steps: step descriptors likewise, tile by tile, segment by segment.
        timing: what the timing model predicts for it among layers of its kind.
        considered: tilings that fit. behind: cycles by which the second best that was estimated in full is slower, 0
            where it is as fast; none where the others were ruled out by what one of their processes alone needs.
    """

    tile: tuple[int, int]
    pitch: int
    chunk_cells: int
    segments: tuple[Segment, ...]
    layer: isa.LayerDescriptor
    steps: isa.StepDescriptor
    timing: LayerTiming
    considered: int = 1
    behind: int | None = None

    @cached_property
    def traffic(self) -> tuple[int, int]:
        """Words of the output tensor that the steps store, and cells of the input that they load."""
        steps = self.steps
        pixels = np.asarray(steps.tile_height) * np.asarray(steps.tile_width)
        cells = np.asarray(steps.rows) * np.asarray(steps.cols) * steps.groups
        return int((pixels * steps.emit_groups).sum()), int(cells.sum())

    @cached_property
    def emitting(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the layer's own output, each as often as steps store a part of it, and those steps."""
        emits = np.flatnonzero(np.asarray(self.steps.emit_blocks) > 0)
        heights = np.asarray(self.steps.tile_height)[emits]
        step = np.repeat(emits, heights)
        row = np.asarray(self.steps.oy0)[step] + np.arange(len(step)) - np.repeat(np.cumsum(heights) - heights, heights)
        return row, step

    @cached_property
    def reach(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Of each step the row of its window's end, the first channel group that it loads, and the one after the
        last."""
        first = np.asarray(self.steps.first_group)
        return np.asarray(self.steps.y0) + np.asarray(self.steps.rows), first, first + np.asarray(self.steps.groups)


Choices = dict[Hashable, Tiling]
"""Tiling chosen for each shape of layer met so far: networks repeat themselves."""


def choose_tiling(
    layer: EngineLayer, taps: TapCounts, array: Array, memory: Memory, known: Choices | None = None
) -> Tiling:
    """The tiling with the fewest predicted cycles.

    ``known`` is looked up and added to; it must serve one array and one memory only.

    Raises:
        DoesNotFitError: no tile fits the banks.
    """
    key = _shape(layer, taps)
    if known is not None and key in known:
        same = known[key]
        loads = loads_of(same.segments, taps, array, {})
        again = _build(layer, taps, same.tile, same.segments, loads, array, memory)
        return replace(again, considered=same.considered, behind=same.behind)
    candidates = _ranked(layer, taps, array)
    considered = len(candidates)
    built: list[tuple[_Candidate, Tiling]] = []
    least: int | None = None
    for candidate in candidates:
        if least is not None and candidate.floor > least:
            break
        tiling = _build(layer, taps, candidate.tile, candidate.plan.segments, candidate.plan.loads, array, memory)
        built.append((candidate, tiling))
        least = tiling.timing.cycles if least is None else min(least, tiling.timing.cycles)
    best = _first_of_best(built, least)
    runner_up = min((t.timing.cycles for _, t in built if t is not best), default=None)
    if best is None:
        view = layer.view
        raise DoesNotFitError(
            f"no tile of its {layer.in_slots}×{view.height}×{view.width} input fits {array.bank_depth} bank cells",
            where=layer.place,
            remedy="choose an array with deeper banks, or a smaller kernel, stride or input",
        )
    # A difference holds wherever the layer stands; its cycles in a program are not those among layers of its kind.
    behind = None if runner_up is None else runner_up - best.timing.cycles
    best = replace(best, considered=considered, behind=behind)
    if known is not None:
        known[key] = best
    return best


def _shape(layer: EngineLayer, taps: TapCounts) -> Hashable:
    """Everything of a layer that its cycles depend on."""
    view, residual = layer.view, layer.residual
    return (
        (layer.kind, layer.channels, layer.in_slots, layer.size, layer.output),
        layer.window,
        (view.height, view.width, view.pitch),
        (residual is not None, residual is not None and residual.broadcast),
        (taps.kept.tobytes(), taps.fresh_sums.tobytes(), taps.binary_sums.tobytes()),
    )


def _extents(layer: EngineLayer, taps: TapCounts, tile: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the input tile for an output tile, the tallest kernel row range assumed."""
    kernel_rows = max(last - first for first, last in taps.row_ranges)
    window = layer.window
    rows = (tile[0] - 1) * window.stride[0] + (kernel_rows - 1) * window.dilation[0] + 1
    return rows, window.reach(tile[1], 1)


def _sizes(extent: int) -> list[int]:
    """Distinct tile sizes that deal ``extent`` evenly, largest first."""
    return sorted({-(-extent // n) for n in range(1, min(extent, MAX_TILES_PER_AXIS) + 1)} | {1}, reverse=True)


def _beats(pixels: int, array: Array) -> int:
    return max(-(-pixels // array.px), array.min_beats)


@dataclass(frozen=True)
class _Candidate:
    """A tiling that fits: the ``number``-th that was found. It can't take fewer than ``floor`` cycles."""

    number: int
    tile: tuple[int, int]
    plan: Split
    floor: int


def _ranked(layer: EngineLayer, taps: TapCounts, array: Array) -> list[_Candidate]:
    """The tilings that fit, the one that might be fastest first."""
    found = [
        _Candidate(number, tile, plan, _floor(layer, tile, plan, array))
        for number, (tile, plan) in enumerate(_candidates(layer, taps, array))
    ]
    return sorted(found, key=lambda c: (c.floor, c.number))


def _first_of_best(built: list[tuple[_Candidate, Tiling]], least: int | None) -> Tiling | None:
    """Of the tilings with the ``least`` cycles the first that was found, or a later one of fewer segments.

    One that can't be faster than those before it is no reason to leave them.
    """
    best: Tiling | None = None
    for candidate, tiling in sorted(built, key=lambda b: b[0].number):
        fewer = best is not None and candidate.floor < (least or 0) and len(tiling.segments) < len(best.segments)
        if tiling.timing.cycles == least and (best is None or fewer):
            best = tiling
    return best


def _candidates(layer: EngineLayer, taps: TapCounts, array: Array) -> Iterator[tuple[tuple[int, int], Split]]:
    """Tiles that fit with the ways to split their chunks."""
    chunks = taps.layout.chunks
    full_height, full_width = layer.size
    plans: dict[tuple[int, int], Split | None] = {}
    counted: dict[Segment, SegmentLoad] = {}
    widths = [w for w in _sizes(full_width) if w >= min(full_width, 8)] + ([1] if full_width > 8 else [])
    for width in widths:
        found = False
        for height in _sizes(full_height):
            rows, cols = _extents(layer, taps, (height, width))
            beats = _beats(height * width, array)
            fit = array.bank_depth // (rows * cols)
            if fit == 0 or beats > array.acc_depth:
                continue
            slots = min(array.acc_depth // beats, 255, max(taps.blocks, 1))
            for run in runs_worth_trying(chunks, min(fit, chunks), taps):
                if (run, slots) not in plans:
                    plans[run, slots] = split(taps, run, slots, array, counted)
                plan = plans[run, slots]
                if plan is not None:
                    found = True
                    yield (height, width), plan
        if found and width * 2 < full_width:
            return  # narrower tiles only add halo


def _floor(layer: EngineLayer, tile: tuple[int, int], plan: Split, array: Array) -> int:
    """Cycles below which a tiling cannot come: what each process does without ever waiting for another."""
    (height, width), window = layer.size, layer.window
    down, across = -(-height // tile[0]), -(-width // tile[1])
    low, narrow = height - (down - 1) * tile[0], width - (across - 1) * tile[1]
    steps = down * across * len(plan.segments)
    # Tiles of four sizes: whole ones, the last row, the last column, the corner.
    beats = (down - 1) * (across - 1) * _beats(tile[0] * tile[1], array) + _beats(low * narrow, array)
    beats += (across - 1) * _beats(low * tile[1], array) + (down - 1) * _beats(tile[0] * narrow, array)
    compute = beats * plan.taps + PIPELINE_DEPTH * steps
    store = height * width * -(-layer.channels // isa.GROUP)
    rows = (height - down) * window.stride[0] + down
    cols = (width - across) * window.stride[1] + across * window.extent[1]
    # The first load may happen before the layer's turn.
    fill = rows * cols * plan.groups * (steps - 1) // steps
    return max(compute, store, plan.words // array.weight_port_words * down * across, fill)


def _build(
    layer: EngineLayer,
    taps: TapCounts,
    tile: tuple[int, int],
    segments: tuple[Segment, ...],
    loads: list[SegmentLoad],
    array: Array,
    memory: Memory,
) -> Tiling:
    rows, cols = _extents(layer, taps, tile)
    per_chunk = taps.layout.groups_per_chunk
    out_groups = -(-layer.channels // isa.GROUP)
    in_groups = taps.layout.in_groups

    (height, width), output, window = layer.size, layer.output, layer.window
    rows_at, cols_at = np.arange(0, height, tile[0]), np.arange(0, width, tile[1])
    oy0, ox0 = np.repeat(rows_at, len(cols_at)), np.tile(cols_at, len(rows_at))
    tile_h, tile_w = np.minimum(tile[0], height - oy0), np.minimum(tile[1], width - ox0)
    beats = np.maximum(-(-(tile_h * tile_w) // array.px), array.min_beats)

    seg = np.array(
        [
            (
                s.chunks[0] * per_chunk,
                min(s.chunks[1] * per_chunk, in_groups) - s.chunks[0] * per_chunk,
                s.blocks[1] - s.blocks[0],
                load.taps,
                taps.row_ranges[s.row_range][0] * window.dilation[0],
                (taps.row_ranges[s.row_range][1] - taps.row_ranges[s.row_range][0] - 1) * window.dilation[0] + 1,
                s.emit,
                (min(s.blocks[1] * array.oc_groups, out_groups) - s.blocks[0] * array.oc_groups) * s.emit,
                load.words,
            )
            for s, load in zip(segments, loads, strict=True)
        ],
        dtype=np.int64,
    )
    first_group, groups, blocks, n_taps, row_offset, row_extent, emits, emit_groups, words = seg.T

    def per_step(tile_column: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.repeat(tile_column, len(segments))

    def per_segment(column: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.tile(column, len(oy0))

    steps = isa.StepDescriptor(
        y0=per_step(oy0 * window.stride[0] - window.pads[0]) + per_segment(row_offset),
        x0=per_step(ox0 * window.stride[1] - window.pads[1]),
        rows=per_step((tile_h - 1) * window.stride[0]) + per_segment(row_extent),
        cols=per_step((tile_w - 1) * window.stride[1] + window.extent[1]),
        oy0=per_step(oy0),
        ox0=per_step(ox0),
        tile_height=per_step(tile_h),
        tile_width=per_step(tile_w),
        first_group=per_segment(first_group),
        groups=per_segment(groups),
        beats=per_step(beats),
        blocks=per_segment(blocks),
        weight_words=per_segment(words),
        taps=per_segment(n_taps),
        iterations=per_step(beats) * per_segment(n_taps),
        emit_blocks=per_segment(blocks * emits),
        emit_groups=per_segment(emit_groups),
        depends=np.ones(len(oy0) * len(segments), dtype=np.int64),
    )
    select = taps.layout.lane_select_words
    residual = layer.residual
    descriptor = isa.LayerDescriptor(
        mode=isa.Mode.MAX if layer.kind == "max" else isa.Mode.MAC,
        relu_before=int(layer.relu_before),
        combine=residual.combine if residual else isa.Combine.NONE,
        subtract=int(residual is not None and residual.subtract),
        broadcast=int(residual is not None and residual.broadcast),
        lookup=layer.lookup,
        relu_after=int(layer.relu_after),
        shift_a=residual.shift_a if residual else 0,
        shift_b=residual.shift_b if residual else 0,
        shift_y=residual.shift_y if residual else 0,
        pad_value=layer.pad_value,
        stride_y=window.stride[0],
        stride_x=window.stride[1],
        groups_per_chunk=per_chunk,
        step_count=len(oy0) * len(segments),
        in_width=layer.view.width,
        in_height=layer.view.height,
        in_pitch=layer.view.pitch,
        pitch=cols,
        chunk_cells=rows * cols,
        out_plane=output.plane[0] * output.plane[1],
        out_pitch=output.plane[1],
        out_step_y=output.step[0],
        out_step_x=output.step[1],
        lane_select_0=select[0],
        lane_select_1=select[1],
    )
    timing = layer_timing(layer.name, descriptor, steps, array, memory)
    return Tiling(tile, cols, rows * cols, segments, descriptor, steps, timing)
