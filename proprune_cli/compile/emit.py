"""Emission: tiled layers → the program's DDR image (descriptors, tables, weight streams)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.program import Plane, Program
from proprune_cli.compile.allocate import Lifetime, allocate
from proprune_cli.compile.fuse import EngineLayer
from proprune_cli.compile.layer_taps import LayerTaps, Unit
from proprune_cli.compile.tile import Segment, Tiling, segment_load
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.quantized import QGraph
from proprune_cli.ops.taps import lane_positions

MAX_WORDS = 1 << 32
"""Addresses are 32-bit word offsets."""


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


def emit(graph: QGraph, layers: tuple[TiledLayer, ...], array: Array) -> Program:
    """Lay out memory and encode every record.

    Raises:
        DoesNotFitError: a field, a table or the address space is too small.
    """
    addresses, arena = allocate(_lifetimes(graph, layers))
    image = _Image()
    layer_table = image.add(np.zeros(len(layers) * isa.LayerDescriptor.WORDS, dtype=np.uint64))
    streams = [_layer_streams(t, array) for t in layers]
    stream_addresses = [[image.add(s, array.weight_port_words) for s in segments] for segments in streams]
    # Tables hold arena addresses, and the arena follows the image: reserve the tables before their contents are known.
    sizes = [_table_words(t, array) for t in layers]
    table_addresses = [image.add(np.zeros(n, dtype=np.uint64)) for n in sizes]
    counters = -(-image.size // 8) * 8
    base = -(-(counters + len(layers) * isa.LayerCounters.WORDS) // 8) * 8
    if base + arena >= MAX_WORDS:
        raise DoesNotFitError(
            f"the program needs {(base + arena) * isa.WORD_BYTES >> 20} MiB; addresses reach 32 GiB",
            where=f"network {graph.name!r}",
            remedy="use a smaller network",
        )
    words = image.join()
    planes = {
        name: Plane(base + addresses[name], t.channels, t.height, t.width, t.exponent)
        for name, t in graph.tensors.items()
        if name in addresses
    }
    for index, (tiled, at, stream) in enumerate(zip(layers, table_addresses, stream_addresses, strict=True)):
        descriptor, tables = _encode_layer(tiled, planes, at, stream, array)
        words[at : at + len(tables)] = tables
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
        output=planes[graph.output],
    )


def _lifetimes(graph: QGraph, layers: tuple[TiledLayer, ...]) -> list[Lifetime]:
    born: dict[str, int] = {graph.input: 0}
    dies: dict[str, int] = {graph.input: 0}
    for index, tiled in enumerate(layers):
        born[tiled.layer.y] = index
        for name in (*tiled.layer.reads, tiled.layer.y):
            dies[name] = index
    dies[graph.output] = len(layers)

    def words(name: str) -> int:
        t = graph.tensors[name]
        return -(-t.channels // isa.GROUP) * t.height * t.width

    return [Lifetime(name, words(name), born[name], dies[name]) for name in born]


def _patterns(tiled: TiledLayer, array: Array) -> tuple[NDArray[np.int64], dict[tuple[int, int], NDArray[np.int64]]]:
    """Lane patterns int64 [patterns, IC], and for each (row range, chunk) base and pattern of its taps, int64 [taps, 2]."""
    layer, tiling = tiled.layer, tiled.tiling
    width, (dil_y, dil_x) = layer.kernel[1], layer.dilation
    offsets: list[NDArray[np.int64]] = []
    bases: list[NDArray[np.int64]] = []
    keys: list[tuple[int, int]] = []
    for r, row in enumerate(tiled.taps.units):
        first_row = tiled.taps.row_ranges[r][0]
        for unit in row:
            position = lane_positions(tiled.taps.layout.lanes(unit.chunk), unit.served)
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


def _layer_streams(tiled: TiledLayer, array: Array) -> list[Words]:
    """The weight stream of each segment."""
    _, headers = _patterns(tiled, array)
    return [_segment_stream(tiled, s, headers, array) for s in tiled.tiling.segments]


def _segment_stream(
    tiled: TiledLayer, segment: Segment, headers: dict[tuple[int, int], NDArray[np.int64]], array: Array
) -> Words:
    load = segment_load(segment, tiled.taps, array)
    out = np.zeros(load.words, dtype=np.uint64)
    units = tiled.taps.units[segment.row_range][segment.chunks[0] : segment.chunks[1]]
    at = 0
    for slot, block in enumerate(range(*segment.blocks)):
        own = [u for u in units if u.chunk == block] if tiled.taps.own_block else list(units)
        at = _emit_block(out, at, tiled, segment, block, slot, own, headers, array)
    assert at == load.words, f"stream of {tiled.layer.name} has {at} words, {load.words} were planned"
    return out


def _emit_block(
    out: Words,
    at: int,
    tiled: TiledLayer,
    segment: Segment,
    block: int,
    slot: int,
    units: list[Unit],
    headers: dict[tuple[int, int], NDArray[np.int64]],
    array: Array,
) -> int:
    """Write one block at ``at``; returns the address after it."""
    layer, tiling, taps = tiled.layer, tiled.tiling, tiled.taps
    row = 0 if taps.own_block else block
    base, pattern, fresh, weights = _tap_columns(units, row, segment, headers, tiling, array)
    out_groups = tiling_out_groups(tiled)
    header = isa.BlockHeader(
        taps=len(base),
        slot=slot if not (segment.init and segment.emit) else 0,
        init=int(segment.init),
        emit=int(segment.emit),
        groups=min(array.oc_groups, out_groups - block * array.oc_groups),
        out_group=block * array.oc_groups,
    )
    out[at] = header.encode()[0, 0]
    if layer.bias is not None and layer.multiplier is not None:
        share = slice(block * array.oc, (block + 1) * array.oc)
        bias, multiplier = np.zeros(array.oc, dtype="<i4"), np.ones(array.oc, dtype="<u2")
        bias[: len(layer.bias[share])] = layer.bias[share]
        multiplier[: len(layer.multiplier[share])] = layer.multiplier[share]
        half = at + 1 + array.oc // 2
        out[at + 1 : half] = bias.view("<u8")
        out[half : half + array.oc // 4] = multiplier.view("<u8")
    at += array.block_words
    lengths = np.where(fresh, array.tap_words, array.reuse_tap_words)
    starts = at + np.cumsum(lengths) - lengths
    out[starts] = isa.TapHeader(base=base, pattern=pattern, reuse=(~fresh).astype(np.int64)).encode()[:, 0]
    if weights is not None:
        payload = np.ascontiguousarray(weights[fresh]).reshape(int(fresh.sum()), -1).view("<u8")
        out[starts[fresh][:, None] + 1 + np.arange(payload.shape[1])] = payload
    return at + int(lengths.sum())


def _tap_columns(
    units: list[Unit],
    row: int,
    segment: Segment,
    headers: dict[tuple[int, int], NDArray[np.int64]],
    tiling: Tiling,
    array: Array,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int8] | None]:
    """Base, pattern, freshness and weights of the taps of one block, in order of chunk and kernel position."""
    heads: list[NDArray[np.int64]] = []
    fresh: list[NDArray[np.bool_]] = []
    weights: list[NDArray[np.int8]] = []
    for unit in units:
        keep = unit.keep[row]
        head = headers[segment.row_range, unit.chunk][keep]
        heads.append(head + np.array([(unit.chunk - segment.chunks[0]) * tiling.chunk_cells, 0]))
        fresh.append(unit.fresh[row][keep])
        if unit.weights is not None:
            weights.append(unit.weights[row][keep])
    head = np.concatenate(heads)
    if len(head) == 0:  # nothing survives: one tap of zero weights lets the block start from its bias
        zero = np.zeros((1, array.oc, array.ic), dtype=np.int8)
        first = headers[segment.row_range, units[0].chunk][:1]
        return first[:, 0], first[:, 1], np.ones(1, dtype=np.bool_), zero
    return head[:, 0], head[:, 1], np.concatenate(fresh), np.concatenate(weights) if weights else None


def tiling_out_groups(tiled: TiledLayer) -> int:
    """Channel groups of the layer's output."""
    if tiled.taps.own_block or tiled.layer.weight is None:
        return tiled.taps.layout.in_groups
    return -(-len(tiled.layer.weight) // isa.GROUP)


def _table_words(tiled: TiledLayer, array: Array) -> int:
    patterns, _ = _patterns(tiled, array)
    residual = tiling_out_groups(tiled) if tiled.layer.residual else 0
    steps = int(tiled.tiling.layer.step_count) * isa.StepDescriptor.WORDS
    return steps + tiled.taps.layout.in_groups + residual + len(patterns) * array.pattern_words


def _plane_addresses(plane: Plane) -> Words:
    return plane.address + np.arange(plane.groups, dtype=np.uint64) * np.uint64(plane.height * plane.width)


def _encode_layer(
    tiled: TiledLayer, planes: dict[str, Plane], at: int, streams: list[int], array: Array
) -> tuple[Words, Words]:
    """The layer's descriptor (WORDS words) and its tables, which stand at address ``at``."""
    layer, tiling = tiled.layer, tiled.tiling
    patterns, _ = _patterns(tiled, array)
    count = int(tiling.layer.step_count)
    steps = replace(tiling.steps, weights=np.tile(np.array(streams, dtype=np.int64), count // len(streams)))
    tables = [steps.encode().reshape(-1), _plane_addresses(planes[layer.x])]
    if layer.residual:
        tables.append(_plane_addresses(planes[layer.residual.tensor]))
    tables.append(patterns.astype("<u2").view("<u8").reshape(-1))
    starts = [at + sum(len(t) for t in tables[:i]) for i in range(len(tables))]
    descriptor = replace(
        tiling.layer,
        step_table=starts[0],
        group_table=starts[1],
        residual_table=starts[2] if layer.residual else 0,
        pattern_table=starts[-1],
        pattern_count=len(patterns),
        out_base=planes[layer.y].address,
    )
    return descriptor.encode()[0], np.concatenate(tables)
