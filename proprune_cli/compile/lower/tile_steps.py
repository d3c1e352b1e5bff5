"""The steps of tilings: what each of them loads, computes and stores, tile by tile and segment by segment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.compile.lower.engine_layer import EngineLayer
from proprune_cli.compile.lower.layer_taps import TapCounts
from proprune_cli.compile.lower.segments import Segment, SegmentLoad

Ints = NDArray[np.int64]


def segment_table(
    layer: EngineLayer, taps: TapCounts, segments: Sequence[Segment], loads: Sequence[SegmentLoad], array: Array
) -> Ints:
    """What steps of each segment have in common, int64 [segments, 9]: first group, groups, blocks, taps, first row of
    the window and how many, whether it emits, groups that it emits, weight words."""
    per_chunk, in_groups = taps.layout.groups_per_chunk, taps.layout.in_groups
    out_groups, dilation = -(-layer.channels // isa.GROUP), layer.window.dilation[0]
    return np.array(
        [
            (
                s.chunks[0] * per_chunk,
                min(s.chunks[1] * per_chunk, in_groups) - s.chunks[0] * per_chunk,
                s.blocks[1] - s.blocks[0],
                load.taps,
                taps.row_ranges[s.row_range][0] * dilation,
                (taps.row_ranges[s.row_range][1] - taps.row_ranges[s.row_range][0] - 1) * dilation + 1,
                s.emit,
                (min(s.blocks[1] * array.oc_groups, out_groups) - s.blocks[0] * array.oc_groups) * s.emit,
                load.words,
            )
            for s, load in zip(segments, loads, strict=True)
        ],
        dtype=np.int64,
    )


def steps_of(
    layer: EngineLayer, tilings: Sequence[tuple[tuple[int, int], Ints]], array: Array
) -> tuple[isa.StepDescriptor, Ints]:
    """Steps of tilings of a layer, one tiling after the other, without addresses and waits; and how many each has.

    Args:
        tilings: rows and columns of a tile, and its `segment_table`.
    """
    (height, width), window = layer.size, layer.window
    sizes = np.array([tile for tile, _ in tilings], dtype=np.int64)
    segments = np.array([len(table) for _, table in tilings], dtype=np.int64)
    down, across = -(-height // sizes[:, 0]), -(-width // sizes[:, 1])
    counts = down * across * segments
    of = np.repeat(np.arange(len(tilings)), counts)
    index = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    tile, segment = np.divmod(index, segments[of])
    row, column = np.divmod(tile, across[of])
    tall, wide = sizes[of].T
    oy0, ox0 = row * tall, column * wide
    tile_h, tile_w = np.minimum(tall, height - oy0), np.minimum(wide, width - ox0)
    beats = np.maximum(-(-(tile_h * tile_w) // array.px), array.min_beats)
    first = np.cumsum(segments) - segments
    rows = np.concatenate([table for _, table in tilings])[first[of] + segment]
    first_group, groups, blocks, taps, row_offset, row_extent, emits, emit_groups, words = np.ascontiguousarray(rows.T)
    steps = isa.StepDescriptor(
        y0=oy0 * window.stride[0] - window.pads[0] + row_offset,
        x0=ox0 * window.stride[1] - window.pads[1],
        rows=(tile_h - 1) * window.stride[0] + row_extent,
        cols=(tile_w - 1) * window.stride[1] + window.extent[1],
        oy0=oy0,
        ox0=ox0,
        tile_height=tile_h,
        tile_width=tile_w,
        first_group=first_group,
        groups=groups,
        beats=beats,
        blocks=blocks,
        weight_words=words,
        taps=taps,
        iterations=beats * taps,
        emit_blocks=blocks * emits,
        emit_groups=emit_groups,
        depends=np.ones(len(of), dtype=np.int64),
    )
    return steps, counts
