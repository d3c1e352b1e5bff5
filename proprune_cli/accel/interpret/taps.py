"""What the taps of a step contribute to the accumulators, for all blocks and real pixels at once.

Sums are formed by float32 matrix products. They are exact: a product of two int8 codes is at most 2^14 in magnitude,
and no more than 2^10 of them are added in float32, so every partial sum is an integer of at most 2^24.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.machine import Layer
from proprune_cli.accel.interpret.stream import TapList
from proprune_cli.accel.interpret.tile import Banks

EXACT_PRODUCTS = 1 << 10
"""Products of two int8 codes that float32 can add in any order without rounding."""

DENSE_FROM = 0.3
"""Share of (block, header) pairs that are taps, from which one product over all blocks is faster than one per block."""


@dataclass(frozen=True)
class Contribution:
    """What each block adds (MAC) or offers (MAX) to its accumulators.

    Attributes:
        values: int64 [B, OC, P].
        valid: bool [B, OC]: made from loaded cells alone.
    """

    values: NDArray[np.int64]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Reader:
    """Reads banks: ``codes(headers)`` is what the lanes see for some (base, pattern) pairs.

    Attributes:
        cells: float32 [IC, depth], as in :class:`Banks`. defined: bool [IC, depth], ``None`` where all are defined.
        offsets: int64 [H, IC], cells added to a pixel's address, one row per distinct header of the step.
        pixel: int64 [P].
    """

    cells: NDArray[np.float32]
    defined: NDArray[np.bool_] | None
    offsets: NDArray[np.int64]
    pixel: NDArray[np.int64]

    def codes(self, headers: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """float32 [n * IC, P]."""
        return np.take(self.cells, self._index(headers)).reshape(-1, self.pixel.size)

    def undefined(self) -> NDArray[np.bool_]:
        """bool [H, IC]: lanes that read a cell the load did not write."""
        out = np.zeros(self.offsets.shape, dtype=np.bool_)
        if self.defined is not None:
            for header in range(len(self.offsets)):
                out[header] = ~np.take(self.defined, self._index(slice(header, header + 1)))[0].all(axis=1)
        return out

    def _index(self, headers: NDArray[np.int64] | slice) -> NDArray[np.int64]:
        """int64 [n, IC, P] into the flattened banks."""
        lanes, depth = self.cells.shape
        lane_start = np.arange(lanes, dtype=np.int64) * depth
        return (self.offsets[headers] + lane_start)[:, :, None] + self.pixel


@dataclass(frozen=True)
class Tile:
    """A loaded tile for a tap list to run over. ``pixel``: int64 [P], the bank cell each output pixel reads from."""

    banks: Banks
    pixel: NDArray[np.int64]
    site: Site


def contribute(layer: Layer, taps: TapList, tiles: list[Tile]) -> list[Contribution]:
    """Work through every tap of a step, for several steps that share the tap list: one large product beats many small.

    Raises:
        InputError: a tap reads outside the banks, or weighs cells that were not loaded.
    """
    if not taps.tap_count:
        return [_nothing(layer, tile) for tile in tiles]
    for tile in tiles:
        _check_headers(layer, taps, tile.pixel, tile.site)
    key = taps.base * len(layer.patterns) + taps.pattern
    distinct, header_of = np.unique(key, return_inverse=True)
    offsets = (distinct // len(layer.patterns))[:, None] + layer.patterns[distinct % len(layer.patterns)]
    reach = int(offsets.max()) + 1
    found: dict[int, Contribution] = {}
    whole = [
        i
        for i, t in enumerate(tiles)
        if t.banks.defined is None and reach + int(t.pixel.max()) <= t.banks.cells.shape[1]
    ]
    if whole:
        reader = _side_by_side([tiles[i] for i in whole], offsets)
        ends = np.cumsum([tiles[i].pixel.size for i in whole])
        values = _values(layer, reader, taps, header_of)
        valid = np.ones(values.shape[:2], dtype=np.bool_)
        for i, part in zip(whole, np.split(values, ends[:-1], axis=2), strict=True):
            found[i] = Contribution(part, valid)
    for i, tile in enumerate(tiles):
        if i not in found:
            found[i] = _with_undefined(layer, tile, taps, offsets, header_of)
    return [found[i] for i in range(len(tiles))]


def _nothing(layer: Layer, tile: Tile) -> Contribution:
    shape = (0, layer.array.oc)
    return Contribution(np.zeros((*shape, tile.pixel.size), dtype=np.int64), np.zeros(shape, dtype=np.bool_))


def _side_by_side(tiles: list[Tile], offsets: NDArray[np.int64]) -> Reader:
    """A reader over the pixels of all tiles, whose banks are put one after the other."""
    starts = np.cumsum([0, *(t.banks.cells.shape[1] for t in tiles)])
    cells = np.concatenate([t.banks.cells for t in tiles], axis=1)
    pixel = np.concatenate([t.pixel + start for t, start in zip(tiles, starts[:-1].tolist(), strict=True)])
    return Reader(cells, None, offsets, pixel)


def _with_undefined(
    layer: Layer, tile: Tile, taps: TapList, offsets: NDArray[np.int64], header_of: NDArray[np.int64]
) -> Contribution:
    """For a tile with cells that the load did not write: between rows or chunks, or past the last."""
    banks, pixel = tile.banks, tile.pixel
    defined = np.ones(banks.cells.shape, dtype=np.bool_) if banks.defined is None else banks.defined
    depth = max(banks.cells.shape[1], int(offsets.max() + pixel.max()) + 1)
    extra = ((0, 0), (0, depth - banks.cells.shape[1]))
    reader = Reader(np.pad(banks.cells, extra), np.pad(defined, extra), offsets, pixel)
    undefined = reader.undefined()
    values = _values(layer, reader, taps, header_of)
    valid = np.ones(values.shape[:2], dtype=np.bool_)
    if layer.is_max:
        folds = layer.array.ic // layer.array.oc
        for block in range(taps.block_count):
            headers = header_of[taps.first[block] : taps.first[block + 1]]
            valid[block] = ~undefined[headers].reshape(len(headers), folds, layer.array.oc).any(axis=(0, 1))
    else:
        _check_zero_weights(taps, header_of, undefined, tile.site)
    return Contribution(values, valid)


def _values(layer: Layer, reader: Reader, taps: TapList, header_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [B, OC, P]."""
    return (_maxima if layer.is_max else _sums)(layer, reader, taps, header_of)


def _check_headers(layer: Layer, taps: TapList, pixel: NDArray[np.int64], site: Site) -> None:
    wrong = np.flatnonzero(taps.pattern >= len(layer.patterns))
    if wrong.size:
        raise _at(site, taps, int(wrong[0])).fault(
            f"lane pattern {taps.pattern[wrong[0]]} of {len(layer.patterns)} is named"
        )
    reach = taps.base + layer.patterns.max(axis=1)[taps.pattern] + int(pixel.max())
    far = np.flatnonzero(reach >= layer.array.bank_depth)
    if far.size:
        raise _at(site, taps, int(far[0])).fault(
            f"the tap reads bank cell {reach[far[0]]}; the array has {layer.array.bank_depth}"
        )


def _check_zero_weights(taps: TapList, header_of: NDArray[np.int64], undefined: NDArray[np.bool_], site: Site) -> None:
    """Lanes that read undefined cells must have no weight."""
    partly: NDArray[np.bool_] = np.any(undefined, axis=1)
    suspects = np.flatnonzero(partly[header_of])
    weighed: NDArray[np.bool_] = np.logical_and(
        taps.weights[taps.weight_of[suspects]].any(axis=1), undefined[header_of[suspects]]
    )
    guilty = np.flatnonzero(weighed.any(axis=1))
    if guilty.size:
        lane = int(np.flatnonzero(weighed[guilty[0]])[0])
        raise _at(site, taps, int(suspects[guilty[0]])).fault(
            f"lane {lane} has a weight, but reads cells that were not loaded"
        )


def _sums(layer: Layer, reader: Reader, taps: TapList, header_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [B, OC, P]."""
    array = layer.array
    blocks, headers = taps.block_count, len(reader.offsets)
    block_of = taps.block_of()
    piece = EXACT_PRODUCTS // array.ic
    pairs = block_of * headers + header_of
    repeats = np.unique(pairs).size < pairs.size
    out = np.zeros((blocks * array.oc, reader.pixel.size), dtype=np.int64)
    if not repeats and taps.tap_count >= DENSE_FROM * blocks * headers:
        # Every distinct header is gathered once and serves all blocks; taps that a block lacks weigh 0.
        dense = np.zeros((blocks, array.oc, headers, array.ic), dtype=np.int8)
        dense[block_of, :, header_of, :] = taps.weights[taps.weight_of]
        for start in range(0, headers, piece):
            part = slice(start, min(start + piece, headers))
            weights = dense[:, :, part].astype(np.float32).reshape(blocks * array.oc, -1)
            out += (weights @ reader.codes(part)).astype(np.int64)
    else:
        for block in range(blocks):
            rows = out[block * array.oc : (block + 1) * array.oc]
            stop = int(taps.first[block + 1])
            for start in range(int(taps.first[block]), stop, piece):
                part = slice(start, min(start + piece, stop))
                chosen = taps.weights[taps.weight_of[part]].astype(np.float32)
                weights = chosen.transpose(1, 0, 2).reshape(array.oc, -1)
                rows += (weights @ reader.codes(header_of[part])).astype(np.int64)
    return out.reshape(blocks, array.oc, -1)


def _maxima(layer: Layer, reader: Reader, taps: TapList, header_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [B, OC, P]: the largest code per output lane o, over taps and over lanes l with l mod OC = o."""
    array = layer.array
    values = np.zeros((taps.block_count, array.oc, reader.pixel.size), dtype=np.int64)
    for block in range(taps.block_count):
        headers = header_of[taps.first[block] : taps.first[block + 1]]
        values[block] = reader.codes(headers).reshape(-1, array.oc, reader.pixel.size).max(axis=0)
    return values


def _at(site: Site, taps: TapList, tap: int) -> Site:
    """The site of a step's tap, counted from 0 within its block."""
    block = int(np.searchsorted(taps.first, tap, side="right")) - 1
    return site.at_block(block, tap - int(taps.first[block]))
