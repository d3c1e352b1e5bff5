"""Emission: tiled layers → the program's DDR image (descriptors, tables, weight streams)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.program import HostStep, Plane, Program, ProgramOutput
from proprune_cli.compile.lower.allocate import Lifetime, allocate
from proprune_cli.compile.lower.engine_layer import EngineGraph, View
from proprune_cli.compile.lower.on_chip import choose
from proprune_cli.compile.lower.waits import waits
from proprune_cli.compile.lower.weight_stream import TapTable, TiledLayer, lane_patterns, segment_stream
from proprune_cli.errors import DoesNotFitError, UnsupportedError
from proprune_cli.ir.quantized import QTensor
from proprune_cli.ops.host_step import codes_model

MAX_WORDS = isa.ON_CHIP
"""Addresses in DDR are 31-bit word offsets."""


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
    live, tilings = lifetimes(graph, layers), [t.tiling for t in layers]
    on_chip = choose(graph, tilings, live, array)
    addresses, arena = allocate([t for t in live if t.name not in on_chip])
    depends = waits(graph.layers, tilings)
    image = _Image()
    layer_table = image.add(np.zeros(len(layers) * isa.LayerDescriptor.WORDS, dtype=np.uint64))
    tables: list[tuple[NDArray[np.int64], TapTable]] = []
    streams: list[list[Words]] = []
    for t in layers:
        # A twin has everything of the layer before it but where its tensors lie.
        tables.append(lane_patterns(t, array) if t.layer.twin is None else tables[t.layer.twin])
        new = t.tiling.segments if t.layer.twin is None else ()
        streams.append([segment_stream(t, segment, tables[-1][1], array) for segment in new])
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
                codes_model(h.layer, {name: _of_one_image(graph, name) for name in (*h.xs, h.layer.y)}),
            )
            for h in graph.host
        ),
        batch=graph.batch,
    )


def _of_one_image(graph: EngineGraph, name: str) -> QTensor:
    """A tensor that the host reads or writes: it holds all images of a batch, which go through its model one by one."""
    t = graph.tensors[name]
    return replace(t, height=t.height // graph.batch)


def lifetimes(graph: EngineGraph, layers: tuple[TiledLayer, ...]) -> list[Lifetime]:
    """From when to when each tensor in memory is live, in passes."""
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
