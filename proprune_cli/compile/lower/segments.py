"""How the work of each tile is split into segments, a step for each, and how long each one's weights are."""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel.array import Array
from proprune_cli.compile.lower.layer_taps import TapCounts


@dataclass(frozen=True)
class Segment:
    """What one step does at every output tile: chunks × kernel rows × blocks, one part of the weight stream."""

    chunks: tuple[int, int]
    row_range: int
    blocks: tuple[int, int]
    init: bool
    emit: bool


@dataclass(frozen=True)
class Split:
    """A way to split the work of each tile, and what it sums up to.

    Attributes:
        taps, words: of all segments. groups: channel groups that they load together.
    """

    segments: tuple[Segment, ...]
    loads: list[SegmentLoad]
    taps: int
    words: int
    groups: int


def split(taps: TapCounts, run: int, slots: int, array: Array, counted: dict[Segment, SegmentLoad]) -> Split | None:
    """Segments of ``run`` chunks and ``slots`` blocks; None where they make no sense. ``counted``: see `loads_of`."""
    segments = _parts(taps, run, slots)
    if segments is None:
        return None
    loads = loads_of(segments, taps, array, counted)
    per_chunk, in_groups = taps.layout.groups_per_chunk, taps.layout.in_groups
    groups = sum(min(s.chunks[1] * per_chunk, in_groups) - s.chunks[0] * per_chunk for s in segments)
    return Split(segments, loads, sum(load.taps for load in loads), sum(load.words for load in loads), groups)


def runs_worth_trying(chunks: int, fit: int, taps: TapCounts) -> list[int]:
    """Chunks per step worth trying: all that fit, and shares of that, which let the first tile load sooner."""
    shares = (1, 2, 4, 8) if taps.own_block else (1, 2)
    return sorted({-(-fit // share) for share in shares if chunks > 1}, reverse=True) or [1]


def _parts(taps: TapCounts, run: int, slots: int) -> tuple[Segment, ...] | None:
    """Split a layer's chunks into runs; None where that needs more accumulator slots than make sense."""
    chunks, ranges = taps.layout.chunks, len(taps.row_ranges)
    runs = [(first, min(first + run, chunks)) for first in range(0, chunks, run)]
    slots = min(slots, 255)
    if taps.own_block:
        if ranges > 1:
            runs = [(first, min(first + min(run, slots), chunks)) for first in range(0, chunks, min(run, slots))]
        return tuple(
            Segment(chunk_run, r, chunk_run, r == 0, r == ranges - 1) for chunk_run in runs for r in range(ranges)
        )
    parts = [(chunk_run, r) for r in range(ranges) for chunk_run in runs]
    if len(parts) == 1:
        return (Segment(runs[0], 0, (0, taps.blocks), True, True),)
    return tuple(
        Segment(chunk_run, r, (b, min(b + slots, taps.blocks)), i == 0, i == len(parts) - 1)
        for b in range(0, taps.blocks, slots)
        for i, (chunk_run, r) in enumerate(parts)
    )


@dataclass(frozen=True)
class SegmentLoad:
    """Length of a segment's part of the weight stream."""

    taps: int
    words: int


def segment_load(segment: Segment, taps: TapCounts, array: Array) -> SegmentLoad:
    """Count a segment's taps; a dense block that has none gets one of zero weights, so that it starts from its bias."""
    b0, b1 = segment.blocks
    empty = taps.count_empty(segment.row_range, segment.chunks, segment.blocks)
    n_taps = taps.count(taps.kept_sums, segment.row_range, segment.chunks, segment.blocks) + empty
    n_fresh = taps.count(taps.fresh_sums, segment.row_range, segment.chunks, segment.blocks) + empty
    n_binary = taps.count(taps.binary_sums, segment.row_range, segment.chunks, segment.blocks)
    kinds = (n_fresh - n_binary, array.tap_words), (n_binary, array.binary_tap_words)
    words = (b1 - b0) * array.block_words + sum(count * length for count, length in kinds)
    words += (n_taps - n_fresh) * array.reuse_tap_words
    return SegmentLoad(n_taps, words)


def loads_of(
    segments: tuple[Segment, ...], taps: TapCounts, array: Array, counted: dict[Segment, SegmentLoad]
) -> list[SegmentLoad]:
    """Loads of ``segments``; those in ``counted`` are not counted again."""
    for segment in segments:
        if segment not in counted:
            counted[segment] = segment_load(segment, taps, array)
    return [counted[segment] for segment in segments]
