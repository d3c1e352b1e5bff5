"""Emission: tiled layers → the program's DDR image (descriptors, tables, weight streams)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.program import HostStep, Plane, Program, ProgramOutput
from proprune_cli.compile.allocate import Lifetime, allocate
from proprune_cli.compile.engine_layer import EngineGraph, EngineLayer, View
from proprune_cli.compile.layer_taps import LayerTaps, Unit
from proprune_cli.compile.on_chip import choose
from proprune_cli.compile.order import waits
from proprune_cli.compile.tile import Segment, Tiling, segment_load
from proprune_cli.errors import DoesNotFitError, UnsupportedError
from proprune_cli.ops.host_step import codes_model

MAX_WORDS = isa.ON_CHIP
"""Addresses in DDR are 31-bit word offsets."""


@dataclass(frozen=True)
class TiledLayer:
    """An engine layer with its taps and tiling."""

    layer: EngineLayer
    taps: LayerTaps
    tiling: Tiling


class _Image:
    """Grows the DDR image; addresses are final as soon as a table is added."""

    def __init__(self) -> None:
        self._parts: list[Words] = []
        self.size = 0

    def add(self, words: Words, align: int = 1) -> int:
        """Append a table and return its address."""
        padding = -self.size % align
        if padding:
            self._parts.append(np.zeros(padding, dtype=np.uint64))
        address = self.size + padding
        self._parts.append(words)
        self.size = address + len(words)
        return address

    def join(self) -> Words:
        return np.concatenate(self._parts)


def emit(graph: EngineGraph, layers: tuple[TiledLayer, ...], array: Array) -> Program:
    """Lay out memory and encode every record.

    Raises:
        DoesNotFitError: a field, a table or the address space is too small.
        UnsupportedError: there are host steps and no layer.
    """
    if not layers:
        raise UnsupportedError(
            "the host would compute everything, and nothing is left for the engine",
            where=f"network {graph.name!r}",
            remedy="give a network with layers that compute something",
        )
    lifetimes, tilings = _lifetimes(graph, layers), [t.tiling for t in layers]
    on_chip = choose(graph, tilings, lifetimes, array)
    addresses, arena = allocate([t for t in lifetimes if t.name not in on_chip])
    depends = waits(graph, tilings)
    image = _Image()
    layer_table = image.add(np.zeros(len(layers) * isa.LayerDescriptor.WORDS, dtype=np.uint64))
    tables: list[tuple[NDArray[np.int64], TapTable]] = []
    streams: list[list[Words]] = []
    for t in layers:
        # A twin has everything of the layer before it but where its tensors lie.
        tables.append(_patterns(t, array) if t.layer.twin is None else tables[t.layer.twin])
        new = t.tiling.segments if t.layer.twin is None else ()
        streams.append([_segment_stream(t, segment, tables[-1][1], array) for segment in new])
    stream_addresses = [[image.add(s, array.weight_port_words) for s in segments] for segments in streams]
    stream_addresses = [stream_addresses[i if t.layer.twin is None else t.layer.twin] for i, t in enumerate(layers)]
    # Tables hold arena addresses, and the arena follows the image: reserve the tables before their contents are known.
    sizes = [_table_words(t, patterns, array) for t, (patterns, _) in zip(layers, tables, strict=True)]
    table_addresses = [image.add(np.zeros(n, dtype=np.uint64)) for n in sizes]
    counters = -(-image.size // 8) * 8
    base = -(-(counters + len(layers) * isa.LayerCounters.WORDS) // 8) * 8
    if base + arena >= MAX_WORDS:
        raise DoesNotFitError(
            f"the program needs {(base + arena) * isa.WORD_BYTES >> 20} MiB; addresses reach 16 GiB",
            where=f"network {graph.name!r}",
            remedy="use a smaller network",
        )
    words = image.join()
    planes = {
        name: Plane(
            isa.ON_CHIP + on_chip[name] if name in on_chip else base + addresses[name],
            t.channels,
            t.height,
            t.width,
            t.exponent,
        )
        for name, t in graph.tensors.items()
    }
    for index, tiled in enumerate(layers):
        at, (patterns, _) = table_addresses[index], tables[index]
        descriptor, encoded = _encode_layer(tiled, planes, at, stream_addresses[index], patterns, depends[index])
        words[at : at + len(encoded)] = encoded
        offset = layer_table + index * isa.LayerDescriptor.WORDS
        words[offset : offset + isa.LayerDescriptor.WORDS] = descriptor
    return Program(
        array=array.name,
        digest=array.digest,
        image=words,
        size=base + arena,
        layer_table=layer_table,
        counters=counters,
        layer_names=tuple(t.layer.name for t in layers),
        input=planes[graph.input],
        outputs=tuple(ProgramOutput(o.name, planes[o.tensor], o.shape) for o in graph.outputs),
        host_steps=tuple(
            HostStep(
                h.layer.name,
                h.layer.operators,
                h.after,
                tuple(planes[x] for x in h.xs),
                planes[h.layer.y],
                codes_model(h.layer, {name: graph.tensors[name] for name in (*h.xs, h.layer.y)}),
            )
            for h in graph.host
        ),
        batch=graph.batch,
    )


def _lifetimes(graph: EngineGraph, layers: tuple[TiledLayer, ...]) -> list[Lifetime]:
    born: dict[str, int] = {graph.input: 0}
    dies: dict[str, int] = {graph.input: 0}
    for index, tiled in enumerate(layers):
        born.setdefault(tiled.layer.y, index)
        for name in (*tiled.layer.reads, tiled.layer.y):
            dies[name] = index
    for h in graph.host:
        # It runs before pass ``after``: what it reads is kept up to there, and what it writes is there from there on.
        born[h.layer.y] = h.after
        for name in (*h.xs, h.layer.y):
            dies[name] = max(dies.get(name, 0), h.after)
    dies |= dict.fromkeys((output.tensor for output in graph.outputs), len(layers))

    def words(name: str) -> int:
        t = graph.tensors[name]
        return -(-t.channels // isa.GROUP) * t.height * t.width

    return [Lifetime(name, words(name), born[name], dies[name]) for name in born]


TapTable = dict[tuple[int, int], NDArray[np.int64]]
"""Base and pattern of the taps of each (row range, chunk), int64 [taps, 2]; bases as if the chunk were the first."""


def _patterns(tiled: TiledLayer, array: Array) -> tuple[NDArray[np.int64], TapTable]:
    """Lane patterns, int64 [patterns, IC], and the tap table that refers to them."""
    layer, tiling = tiled.layer, tiled.tiling
    width, (dil_y, dil_x) = layer.kernel[1], layer.dilation
    offsets: list[NDArray[np.int64]] = []
    bases: list[NDArray[np.int64]] = []
    keys: list[tuple[int, int]] = []
    for r, row in enumerate(tiled.taps.units):
        first_row = tiled.taps.row_ranges[r][0]
        for unit in row:
            position = unit.served.table
            cell = (position // width - first_row) * dil_y * tiling.pitch + position % width * dil_x
            base = np.where(position >= 0, cell, np.iinfo(np.int64).max).min(axis=1)
            offsets.append(np.where(position >= 0, cell - base[:, None], 0))
            bases.append(base)
            keys.append((r, unit.chunk))
    table, number = np.unique(np.concatenate(offsets), axis=0, return_inverse=True)
    if len(table) > array.max_patterns:
        raise DoesNotFitError(
            f"{len(table)} lane patterns are needed, array {array.name} holds {array.max_patterns}",
            where=f"layer {layer.name!r}",
            remedy="choose an array with a larger max_patterns",
        )
    splits = np.cumsum([len(b) for b in bases])[:-1]
    numbers = np.split(number.reshape(-1), splits)
    return table, {k: np.stack([b, n], axis=1) for k, b, n in zip(keys, bases, numbers, strict=True)}


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


def _segment_stream(tiled: TiledLayer, segment: Segment, headers: TapTable, array: Array) -> Words:
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


def _table_words(tiled: TiledLayer, patterns: NDArray[np.int64], array: Array) -> int:
    layer = tiled.layer
    residual = len(layer.residual.view.groups) if layer.residual else 0
    lookup = LOOKUP_WORDS if layer.table is not None else 0
    steps = int(tiled.tiling.layer.step_count) * isa.StepDescriptor.WORDS
    return steps + len(layer.view.groups) + len(patterns) * array.pattern_words + residual + lookup


LOOKUP_WORDS = 256 // isa.WORD_BYTES


def _plane_addresses(view: View, planes: dict[str, Plane]) -> Words:
    """Address of the first pixel of each group of ``view``."""
    rows = view.rows or (0,) * len(view.groups)
    starts = [
        planes[n].address + (g * planes[n].height + row) * planes[n].width
        for (n, g), row in zip(view.groups, rows, strict=True)
    ]
    return np.array(starts, dtype=np.uint64) + np.uint64(view.top * view.pitch + view.left)


def _encode_layer(
    tiled: TiledLayer,
    planes: dict[str, Plane],
    at: int,
    streams: list[int],
    patterns: NDArray[np.int64],
    depends: NDArray[np.int64],
) -> tuple[Words, Words]:
    """The layer's descriptor (WORDS words) and its tables, which stand at address ``at``."""
    layer, tiling = tiled.layer, tiled.tiling
    count = int(tiling.layer.step_count)
    weights = np.tile(np.array(streams, dtype=np.int64), count // len(streams))
    steps = replace(tiling.steps, weights=weights, depends=depends)
    tables = {
        "step_table": steps.encode().reshape(-1),
        "group_table": _plane_addresses(layer.view, planes),
        "pattern_table": patterns.astype("<u2").view("<u8").reshape(-1),
    }
    if layer.residual:
        tables["residual_table"] = _plane_addresses(layer.residual.view, planes)
    if layer.table is not None:
        tables["lookup_table"] = layer.table.astype(np.int8).view("<u8")
    starts: dict[str, int] = {}
    for name, words in tables.items():
        starts[name], at = at, at + len(words)
    y, (first_y, first_x) = planes[layer.y], layer.output.first
    descriptor = replace(
        tiling.layer,
        **starts,
        pattern_count=len(patterns),
        out_base=y.address + first_y * y.width + first_x,
    )
    return descriptor.encode()[0], np.concatenate(list(tables.values()))
