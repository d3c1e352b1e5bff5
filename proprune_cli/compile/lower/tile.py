"""Tiling: which output tile, chunks and blocks each step handles. The timing model chooses; ties go to fewer steps."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.layer_timing import cycles_of_each, layer_timing
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.step_costs import STEP_RESTART
from proprune_cli.accel.timing import LayerTiming
from proprune_cli.compile.lower.engine_layer import EngineLayer
from proprune_cli.compile.lower.layer_taps import TapCounts
from proprune_cli.compile.lower.segments import Segment, SegmentLoad, Split, loads_of, runs_worth_trying, split
from proprune_cli.compile.lower.tile_steps import segment_table, steps_of
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
    if not candidates:
        view = layer.view
        raise DoesNotFitError(
            f"no tile of its {layer.in_slots}×{view.height}×{view.width} input fits {array.bank_depth} bank cells",
            where=layer.place,
            remedy="choose an array with deeper banks, or a smaller kernel, stride or input",
        )
    timed = _timed(layer, taps, candidates, array, memory)
    at = _first_of_best(timed)
    chosen, least = timed[at]
    best = _build(layer, taps, chosen.tile, chosen.plan.segments, chosen.plan.loads, array, memory)
    runner_up = min((cycles for n, (_, cycles) in enumerate(timed) if n != at), default=None)
    # A difference holds wherever the layer stands; its cycles in a program are not those among layers of its kind.
    best = replace(best, considered=len(candidates), behind=None if runner_up is None else runner_up - least)
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


_AT_ONCE = (4, 12, 32)
"""Tilings that are timed together, first, second and from then on: some in vain, but each alone would take longer."""


def _timed(
    layer: EngineLayer, taps: TapCounts, candidates: list[_Candidate], array: Array, memory: Memory
) -> list[tuple[_Candidate, int]]:
    """Those of ``candidates``, in their order, that may be the best, with their cycles."""
    tables: dict[int, NDArray[np.int64]] = {}
    descriptor = _descriptor(layer, taps)
    timed: list[tuple[_Candidate, int]] = []
    least: int | None = None
    begin = 0
    for wave in range(len(candidates)):
        some = candidates[begin : begin + _AT_ONCE[min(wave, len(_AT_ONCE) - 1)]]
        begin += len(some)
        some = [c for c in some if least is None or c.floor <= least]
        if not some:
            break
        for candidate in some:
            plan = candidate.plan
            if id(plan) not in tables:
                tables[id(plan)] = segment_table(layer, taps, plan.segments, plan.loads, array)
        tilings = [(c.tile, tables[id(c.plan)]) for c in some]
        steps, counts = steps_of(layer, tilings, array)
        for candidate, cycles in zip(some, cycles_of_each(descriptor, steps, counts, array, memory), strict=True):
            if least is not None and candidate.floor > least:
                return timed
            timed.append((candidate, cycles))
            least = cycles if least is None else min(least, cycles)
    return timed


def _first_of_best(timed: list[tuple[_Candidate, int]]) -> int:
    """Where among tilings with their cycles the first one that was found of the fastest stands, or a later one of fewer
    segments.

    One that can't be faster than those before it is no reason to leave them.
    """
    least = min(cycles for _, cycles in timed)
    best: int | None = None
    for at in sorted(range(len(timed)), key=lambda n: timed[n][0].number):
        candidate, cycles = timed[at]
        segments = len(candidate.plan.segments)
        fewer = best is not None and candidate.floor < least and segments < len(timed[best][0].plan.segments)
        if cycles == least and (best is None or fewer):
            best = at
    assert best is not None, "one of them is the fastest"
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
    compute = beats * plan.taps + STEP_RESTART * steps
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
    steps, _ = steps_of(layer, [(tile, segment_table(layer, taps, segments, loads, array))], array)
    count = len(np.asarray(steps.oy0))
    descriptor = replace(_descriptor(layer, taps), step_count=count, pitch=cols, chunk_cells=rows * cols)
    timing = layer_timing(layer.name, descriptor, steps, array, memory)
    return Tiling(tile, cols, rows * cols, segments, descriptor, steps, timing)


def _descriptor(layer: EngineLayer, taps: TapCounts) -> isa.LayerDescriptor:
    """What all tilings of a layer have in common."""
    output, window, residual = layer.output, layer.window, layer.residual
    select = taps.layout.lane_select_words
    return isa.LayerDescriptor(
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
        groups_per_chunk=taps.layout.groups_per_chunk,
        in_width=layer.view.width,
        in_height=layer.view.height,
        in_pitch=layer.view.pitch,
        out_plane=output.plane[0] * output.plane[1],
        out_pitch=output.plane[1],
        out_step_y=output.step[0],
        out_step_x=output.step[1],
        lane_select_0=select[0],
        lane_select_1=select[1],
    )
