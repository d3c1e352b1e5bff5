"""The weight stream: lane patterns, and for each segment the blocks of taps as the engine reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.memory import Memory
from proprune_cli.compile.lower.engine_layer import EngineLayer
from proprune_cli.compile.lower.layer_taps import LayerTaps, Unit, build_taps
from proprune_cli.compile.lower.segments import Segment, segment_load
from proprune_cli.compile.lower.tile import Choices, Tiling, choose_tiling
from proprune_cli.errors import DoesNotFitError
from proprune_cli.work.layer import LayerWork


@dataclass(frozen=True)
class TiledLayer:
    """An engine layer with its taps and tiling."""

    layer: EngineLayer
    taps: LayerTaps
    tiling: Tiling

    @property
    def work(self) -> LayerWork:
        """What the layer has to do, with the taps that remain and the bytes of their weights."""
        words = int(np.asarray(self.tiling.steps.weight_words).sum())
        return replace(self.layer.work, taps=int(self.taps.kept.sum()), weight_bytes=words * isa.WORD_BYTES)


TapTable = dict[tuple[int, int], NDArray[np.int64]]
"""Base and pattern of the taps of each (row range, chunk), int64 [taps, 2]; bases as if the chunk were the first."""


def tiled_layers(
    layers: Iterable[EngineLayer], array: Array, memory: Memory, known: Choices | None = None
) -> tuple[TiledLayer, ...]:
    """Taps and tiling of each of ``layers``; a twin has those of the layer before it. ``known``: see `choose_tiling`.

    Raises:
        DoesNotFitError: a layer fits no tile.
    """
    choices: Choices = {} if known is None else known
    found: list[TiledLayer] = []
    for layer in layers:
        if layer.twin is not None:
            found.append(replace(found[layer.twin], layer=layer))
            continue
        taps = build_taps(layer, array)
        found.append(TiledLayer(layer, taps, choose_tiling(layer, taps, array, memory, choices)))
    return tuple(found)


def lane_patterns(tiled: TiledLayer, array: Array) -> tuple[NDArray[np.int64], TapTable]:
    """Lane patterns, int64 [patterns, IC], and the tap table that refers to them."""
    layer, tiling = tiled.layer, tiled.tiling
    width, (dil_y, dil_x) = layer.window.kernel[1], layer.window.dilation
    offsets: list[NDArray[np.int64]] = []
    bases: list[NDArray[np.int64]] = []
    # Chunks mostly read the same positions; which of the patterns are theirs is found out once.
    alike: dict[tuple[int, bytes], int] = {}
    keys: dict[tuple[int, int], int] = {}
    for r, row in enumerate(tiled.taps.units):
        first_row = tiled.taps.row_ranges[r][0]
        for unit in row:
            position = unit.served.table
            same = (r, position.tobytes())
            keys[r, unit.chunk] = alike.setdefault(same, len(bases))
            if keys[r, unit.chunk] < len(bases):
                continue
            cell = (position // width - first_row) * dil_y * tiling.pitch + position % width * dil_x
            base = np.where(position >= 0, cell, np.iinfo(np.int64).max).min(axis=1)
            # A block without weights starts from its bias by a tap that no lane may serve: it reads the first cell.
            base[(position < 0).all(axis=1)] = 0
            offsets.append(np.where(position >= 0, cell - base[:, None], 0))
            bases.append(base)
    table, number = np.unique(np.concatenate(offsets), axis=0, return_inverse=True)
    if len(table) > array.max_patterns:
        raise DoesNotFitError(
            f"{len(table)} lane patterns are needed, array {array.name} holds {array.max_patterns}",
            where=layer.place,
            remedy="choose an array with a larger max_patterns",
        )
    splits = np.cumsum([len(b) for b in bases])[:-1]
    numbers = np.split(number.reshape(-1), splits)
    found = [np.stack([b, n], axis=1) for b, n in zip(bases, numbers, strict=True)]
    return table, {key: found[place] for key, place in keys.items()}


@dataclass(frozen=True)
class _FlatTaps:
    """Every tap of a segment in stream order, one row each.

    Attributes:
        block: int64, number of the tap's block within the segment, ascending.
        base, pattern: int64, for its header. fresh: bool, weights follow. binary: bool, they are of one bit.
        weights: int8 [taps, OC, IC], None in max layers.
    """

    block: NDArray[np.int64]
    base: NDArray[np.int64]
    pattern: NDArray[np.int64]
    fresh: NDArray[np.bool_]
    binary: NDArray[np.bool_]
    weights: NDArray[np.int8] | None


def segment_stream(tiled: TiledLayer, segment: Segment, headers: TapTable, array: Array) -> Words:
    """One segment's part of the weight stream."""
    flat = _dense_taps(tiled, segment, headers) if not tiled.taps.own_block else _own_taps(tiled, segment, headers)
    first, last = segment.blocks
    blocks = np.arange(first, last, dtype=np.int64)
    kinds = [flat.fresh & flat.binary, flat.fresh]
    lengths = np.select(kinds, [array.binary_tap_words, array.tap_words], array.reuse_tap_words)
    before = np.cumsum(lengths) - lengths
    taps = np.bincount(flat.block, minlength=len(blocks))
    starts = before + (flat.block + 1) * array.block_words
    first_tap = np.cumsum(taps) - taps
    heads = starts[first_tap] - array.block_words
    out = np.zeros(int(lengths.sum()) + len(blocks) * array.block_words, dtype=np.uint64)
    load = segment_load(segment, tiled.taps, array)
    assert len(out) == load.words, f"stream of {tiled.layer.name} has {len(out)} words, {load.words} were planned"

    header = isa.BlockHeader(
        taps=taps,
        slot=0 if segment.init and segment.emit else blocks - first,
        init=int(segment.init),
        emit=int(segment.emit),
        groups=np.minimum(array.oc_groups, _out_groups(tiled) - blocks * array.oc_groups),
        out_group=blocks * array.oc_groups,
    )
    out[heads] = header.encode()[:, 0]
    if tiled.layer.bias is not None and tiled.layer.multiplier is not None:
        lanes = slice(first * array.oc, last * array.oc)
        bias = _per_block(tiled.layer.bias[lanes], "<i4", 0, len(blocks), array)
        multiplier = _per_block(tiled.layer.multiplier[lanes], "<u2", 1, len(blocks), array)
        scales = np.concatenate([bias, multiplier], axis=1)
        out[heads[:, None] + 1 + np.arange(scales.shape[1])] = scales
    tap_header = isa.TapHeader(
        base=flat.base,
        pattern=flat.pattern,
        reuse=(~flat.fresh).astype(np.int64),
        binary=flat.binary.astype(np.int64),
        shift=_shift(flat),
        lanes=_lanes(flat),
    )
    out[starts] = tap_header.encode()[:, 0]
    if flat.weights is not None:
        codes, signs = flat.fresh & ~flat.binary, flat.binary
        _put(out, starts[codes] + 1, flat.weights[codes].reshape(-1, array.oc * array.ic).view("<u8"))
        plus = np.packbits(flat.weights[signs].reshape(-1, array.oc * array.ic) > 0, axis=1, bitorder="little")
        _put(out, starts[signs] + 1, plus.view("<u8"))
    return out


def _put(out: Words, starts: NDArray[np.int64], rows: Words) -> None:
    """Write row i of ``rows`` from word ``starts[i]`` on."""
    out[starts[:, None] + np.arange(rows.shape[1])] = rows


def _shift(flat: _FlatTaps) -> NDArray[np.int64]:
    """For binary taps the power of two that their weights are."""
    if flat.weights is None or not flat.binary.any():
        return np.zeros(len(flat.base), dtype=np.int64)
    top = np.abs(flat.weights).max(axis=(1, 2))
    return np.where(flat.binary, np.log2(np.maximum(top, 1)), 0).astype(np.int64)


def _lanes(flat: _FlatTaps) -> NDArray[np.int64]:
    """For binary taps the input lanes that have weights, a bit each."""
    if flat.weights is None or not flat.binary.any():
        return np.zeros(len(flat.base), dtype=np.int64)
    used = flat.weights.any(axis=1) & flat.binary[:, None]
    return (used.astype(np.int64) << np.arange(used.shape[1])).sum(axis=1)


def _per_block(values: NDArray[np.int32], dtype: str, fill: int, blocks: int, array: Array) -> Words:
    """Pack one value per output lane into words, [blocks, words]; lanes beyond the last channel hold ``fill``."""
    padded = np.full(blocks * array.oc, fill, dtype=dtype)
    padded[: len(values)] = values
    return padded.reshape(blocks, array.oc).view("<u8")


def _dense_taps(tiled: TiledLayer, segment: Segment, headers: TapTable) -> _FlatTaps:
    """Taps of a segment in which every block reads every chunk."""
    units = tiled.taps.units[segment.row_range][segment.chunks[0] : segment.chunks[1]]
    rows = slice(*segment.blocks)
    keep = np.concatenate([u.keep[rows] for u in units], axis=1)
    keep[~keep.any(axis=1), 0] = True  # a block of zero weights still starts from its bias
    binary = np.concatenate([u.binary[rows] for u in units], axis=1)
    weights = np.concatenate([u.weights[rows] for u in units if u.weights is not None], axis=1)
    head = np.concatenate([_shifted(tiled, segment, headers, u) for u in units])
    block, tap = np.nonzero(keep)
    return _FlatTaps(block, head[tap, 0], head[tap, 1], np.ones(len(tap), dtype=np.bool_), binary[keep], weights[keep])


def _own_taps(tiled: TiledLayer, segment: Segment, headers: TapTable) -> _FlatTaps:
    """Taps of a segment in which each chunk feeds the block of its own number."""
    units = tiled.taps.units[segment.row_range][segment.chunks[0] : segment.chunks[1]]
    head = np.concatenate([_shifted(tiled, segment, headers, u) for u in units])
    block = np.repeat(np.arange(len(units)), [u.served.taps for u in units])
    fresh = np.concatenate([u.fresh[0] for u in units])
    weights = [u.weights[0] for u in units if u.weights is not None]
    codes = np.concatenate(weights) if weights else None
    return _FlatTaps(block, head[:, 0], head[:, 1], fresh, np.zeros_like(fresh), codes)


def _shifted(tiled: TiledLayer, segment: Segment, headers: TapTable, unit: Unit) -> NDArray[np.int64]:
    """Base and pattern of a unit's taps where the unit's chunk lies in the segment's bank, int64 [taps, 2]."""
    start = (unit.chunk - segment.chunks[0]) * tiled.tiling.chunk_cells
    return headers[segment.row_range, unit.chunk] + np.array([start, 0], dtype=np.int64)


def _out_groups(tiled: TiledLayer) -> int:
    return -(-tiled.layer.channels // isa.GROUP)
