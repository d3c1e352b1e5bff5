"""Passes of the engine from the work of layers alone: what lowering makes of a network, without its weights.

A layer becomes the passes that ``lower`` would make of it, with the taps that its survivors need, dealt to lanes and
tiled by the very code that lowers networks. `works_of` goes the other way: the work of passes that exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.compile.lower.engine_layer import EngineGraph, EngineLayer, Phase, Residual, View
from proprune_cli.compile.lower.layer_taps import TapCounts, deal_units, kernel_row_ranges
from proprune_cli.compile.lower.tile import Choices, Tiling, choose_tiling
from proprune_cli.compile.lower.transposed import axis_phases
from proprune_cli.ir.window import Window
from proprune_cli.ops.lane_taps import needs, offsets
from proprune_cli.ops.taps import LARGEST_SIGN, LaneLayout, Positions, diagonal_weights, lane_layout, positions
from proprune_cli.work.layer import Flow, LayerWork, Survivors, square

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class KnownCounts(TapCounts):
    """Taps that were counted without weights: ``kept``, ``fresh`` and ``binary``, and how many lane patterns.

    Attributes:
        products: multiply-accumulates that the array issues for a pixel, as `proprune_cli.work.macs` defines them.
    """

    tables: tuple[Ints, Ints, Ints]
    patterns: int
    products: int

    @cached_property
    def kept(self) -> Ints:
        """See `TapCounts`."""
        return self.tables[0]

    @cached_property
    def fresh(self) -> Ints:
        """See `TapCounts`."""
        return self.tables[1]

    @cached_property
    def binary(self) -> Ints:
        """See `TapCounts`."""
        return self.tables[2]


@dataclass(frozen=True)
class ShapedPass:
    """One pass that a layer would be lowered to. Names of tensors in ``layer`` mean nothing.

    Attributes:
        issued: multiply-accumulates that the array issues for it.
    """

    layer: EngineLayer
    tiling: Tiling
    patterns: int
    issued: int


def shaped_passes(work: LayerWork, array: Array, memory: Memory, known: Choices) -> tuple[ShapedPass, ...]:
    """The passes of a layer, tiled; ``known`` as in `choose_tiling`.

    Raises:
        DoesNotFitError: no tile of it fits the array.
    """
    found: list[ShapedPass] = []
    for layer, nonzero in _engine_layers(work):
        counts = _counts(work, layer, nonzero, array)
        tiling = choose_tiling(layer, counts, array, memory, known)
        issued = counts.products * layer.size[0] * layer.size[1]
        found.append(ShapedPass(layer, tiling, counts.patterns, issued))
    return tuple(found)


# Layers as passes.


def _engine_layers(work: LayerWork) -> Iterator[tuple[EngineLayer, Bools | None]]:
    """Passes without weights, each with where its weights are not zero: [out, in / groups, its own positions]."""
    flow = work.flow or Flow((), "")
    slots = flow.slots or work.in_channels
    (height, width), size = square(work.in_size), square(work.out_size)
    view = View(
        tuple(("x", g) for g in range(-(-slots // isa.GROUP))),
        np.arange(slots, dtype=np.int64), height, width, flow.top, 0, flow.pitch or width,
    )  # fmt: skip
    operand = View((("r", 0),), np.arange(work.out_channels, dtype=np.int64), *size, 0, 0, size[1])
    residual = Residual(operand, isa.Combine.ADD, 0, 0, 0, broadcast=flow.broadcast) if work.residual else None
    layer = EngineLayer(
        work.name, work.unit, view, "y", work.out_channels, size, residual=residual, phase=flow.phase,
        lookup=isa.Lookup.BEFORE if flow.lookup else isa.Lookup.NONE,
    )  # fmt: skip
    nonzero = work.survivors.nonzero if work.survivors is not None else None
    window = _window(work)
    if work.kind != "conv_transpose":
        yield replace(layer, window=window), nonzero
        return
    axes = [
        list(axis_phases(window.kernel[a], window.stride[a], window.dilation[a], window.pads[a], size[a]))
        for a in range(2)
    ]
    for y, x in product(*axes):
        # Where no weight reaches a phase, one of zero does.
        kernel = (len(y.taps), len(x.taps)) if y.taps and x.taps else (1, 1)
        part = None
        if not (y.taps and x.taps):
            part = np.zeros((work.out_channels, work.in_channels // work.groups, 1), dtype=np.bool_)
        elif nonzero is not None:
            taken = (np.array(y.taps)[:, None] * window.kernel[1] + np.array(x.taps)).reshape(-1)
            part = nonzero[:, :, taken]
        yield (
            replace(
                layer,
                size=(y.count, x.count),
                window=Window(kernel, pads=(y.pad, x.pad, 0, 0), dilation=(y.dilation, x.dilation)),
                phase=Phase(size, (y.first, x.first), window.stride),
            ),
            part,
        )


def _window(work: LayerWork) -> Window:
    kernel = square(work.kernel)
    stride, dilation = _pair(work.stride), _pair(work.dilation)
    window = Window(kernel, stride, dilation=dilation)
    if work.pads is not None:
        top, left = work.pads if len(work.pads) == 2 else (0, *work.pads)
        return replace(window, pads=(top, left, 0, 0))
    inside, made = square(work.in_size), square(work.out_size)
    if work.kind == "conv_transpose":
        inside, made = made, inside
    spare = [(window.reach(made[a], a) - inside[a]) // 2 for a in range(2)]
    return replace(window, pads=(max(spare[0], 0), max(spare[1], 0), 0, 0))


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    return (values[0], values[1]) if len(values) == 2 else (1, values[0] if values else 1)


# Taps without weights.


def _counts(work: LayerWork, layer: EngineLayer, nonzero: Bools | None, array: Array) -> KnownCounts:
    row_ranges = kernel_row_ranges(layer, array)
    layout = lane_layout(layer.in_slots, array, layer.kind)
    width, dilation = layer.window.kernel[1], layer.window.dilation
    whole = layer.kind == "dense" and nonzero is None and (work.groups == 1 or work.taps is not None)
    if layer.kind == "dense" and not whole:
        return _dealt_counts(work, layer, nonzero, array)
    blocks = -(-layer.channels // array.oc) if layer.kind == "dense" else layout.chunks
    taps, fed = np.zeros((2, len(row_ranges), layout.chunks), dtype=np.int64)
    patterns: set[bytes] = set()
    for r, (first, last) in enumerate(row_ranges):
        for chunk in dict.fromkeys((0, layout.chunks - 1)):
            served = positions(first * width, (last - first) * width, layout.lanes(chunk))
            patterns |= offsets(served.table, width, dilation)
            same = chunk if chunk else slice(None)
            taps[r, same], fed[r, same] = served.taps, _fed(layout, chunk, served, layer).sum()
    if layer.kind != "dense":
        kept = taps[:, :, None]
        none = np.zeros_like(kept)
        outputs = np.minimum(array.oc, layer.channels - np.arange(layout.chunks) * array.oc)
        products = int((fed @ outputs).sum()) if layer.kind != "max" else 0
        tables = (kept, _fresh(work, layer, nonzero, kept, array), none)
        return KnownCounts(layout, row_ranges, blocks, tables, len(patterns), products)
    kept = np.repeat(taps[:, :, None], blocks, axis=2)
    products = int(fed.sum()) * layer.channels
    if work.taps is not None and work.kind != "conv_transpose":
        possible = int(kept.sum())
        kept = _spread(work.taps, kept)
        products = products * work.taps // possible
    return KnownCounts(layout, row_ranges, blocks, (kept, kept, np.zeros_like(kept)), len(patterns), products)


def _fed(layout: LaneLayout, chunk: int, served: Positions, layer: EngineLayer) -> Ints:
    """Lanes that each tap of a chunk feeds a channel: int64 [taps]."""
    channel = chunk * layout.groups_per_chunk * isa.GROUP + layout.lanes(chunk).channel
    return ((served.table >= 0) & (channel < layer.in_slots)).sum(axis=1)


def _spread(taps: int, possible: Ints) -> Ints:
    """``taps`` evenly among the units and blocks that could have ``possible`` ones."""
    before = np.cumsum(possible.reshape(-1))
    share = before * taps // int(before[-1])
    return np.diff(share, prepend=0).reshape(possible.shape)


def _fresh(work: LayerWork, layer: EngineLayer, nonzero: Bools | None, kept: Ints, array: Array) -> Ints:
    """Taps that bring weights where chunks have blocks of their own: those that differ from the tap before."""
    if layer.kind == "max":
        return np.zeros_like(kept)
    if nonzero is None and not work.constant:
        return kept
    layout, width = lane_layout(layer.in_slots, array, layer.kind), layer.window.kernel[1]
    mask = np.ones((layer.channels, layer.window.positions), dtype=np.int8)
    if nonzero is not None:
        mask = nonzero.reshape(mask.shape).astype(np.int8)
    fresh = np.ones_like(kept)
    for r, (first, last) in enumerate(kernel_row_ranges(layer, array)):
        for chunk in range(layout.chunks):
            lanes = layout.lanes(chunk)
            served = positions(first * width, (last - first) * width, lanes)
            taps = diagonal_weights(mask, chunk * layout.groups_per_chunk * isa.GROUP, lanes, served, array.oc)
            # Weights that are not zero are like those of another tap only where all are alike.
            same = (taps[1:] == taps[:-1]).all(axis=(1, 2))
            fresh[r, chunk] += int((~same if work.constant else ~same | taps[1:].any(axis=(1, 2))).sum())
    return fresh


def _dealt_counts(work: LayerWork, layer: EngineLayer, nonzero: Bools | None, array: Array) -> KnownCounts:
    """Taps of a dense pass of which weights are missing, or whose groups do not read all channels."""
    row_ranges = kernel_row_ranges(layer, array)
    layout = lane_layout(layer.in_slots, array, layer.kind)
    weight = _over_slots(work, layer, nonzero)
    need = needs(weight, array.oc)
    deals = [deal for deal, _ in deal_units(need, layout, row_ranges, layer.window, array)]
    blocks = need.shape[0]
    kept = np.array([deal.owns.sum(axis=1) for deal in deals], dtype=np.int64)
    kept = kept.reshape(len(row_ranges), layout.chunks, blocks)
    binary = np.zeros_like(kept)
    if work.survivors is not None and work.survivors.one_bit:
        # A tap is of one bit where no filter of the block leaves out what another one has.
        ragged = need & needs(~weight, array.oc)
        units = [(rows, chunk) for rows in row_ranges for chunk in range(layout.chunks)]
        for number, (deal, (_, chunk)) in enumerate(zip(deals, units, strict=True)):
            lanes = layout.lanes(chunk)
            channel = chunk * layout.groups_per_chunk * isa.GROUP + lanes.channel
            valid = (lanes.channel >= 0) & (channel < weight.shape[1])
            lane = ragged[:, np.where(valid, channel, 0)] & valid[:, None]
            table = deal.served.table
            bad = (lane[:, np.arange(table.shape[1]), np.maximum(table, 0)] & (table >= 0)).any(axis=2)
            binary[number // layout.chunks, chunk] = (deal.owns & ~bad).sum(axis=1)
    width, dilation = layer.window.kernel[1], layer.window.dilation
    patterns: set[bytes] = set()
    for deal in deals:
        patterns |= offsets(deal.served.table, width, dilation)
    filters = np.minimum(array.oc, layer.channels - np.arange(blocks) * array.oc)
    products = 0
    for number, deal in enumerate(deals):
        row_range, chunk = divmod(number, layout.chunks)
        fed = _fed(layout, chunk, deal.served, layer)
        products += int((deal.owns @ fed) @ filters)
        if chunk == 0:  # a block without weights starts from its bias, by a tap of zeros
            products += int(fed[0]) * int(filters[kept[row_range].sum(axis=0) == 0].sum())
    return KnownCounts(layout, row_ranges, blocks, (kept, kept, binary), len(patterns), products)


def _over_slots(work: LayerWork, layer: EngineLayer, nonzero: Bools | None) -> Bools:
    """Where weights are not zero, over the lanes' channels: bool [out, in slots, positions]; groups are spread out."""
    outs, slots, count = layer.channels, layer.in_slots, layer.window.positions
    per_group = work.in_channels // work.groups
    if nonzero is None:
        nonzero = np.ones((outs, per_group, count), dtype=np.bool_)
    if nonzero.shape[1] == slots:
        return nonzero
    full = np.zeros((outs, slots, count), dtype=np.bool_)
    first = np.arange(outs) // -(-outs // work.groups) * per_group
    channel = first[:, None] + np.arange(per_group)
    np.put_along_axis(full, np.repeat(channel[:, :, None], count, axis=2), nonzero, axis=1)
    return full


# The work of passes.


def works_of(graph: EngineGraph) -> list[LayerWork]:
    """The work of each pass of ``graph`` for one image, with everything that cycles depend on."""
    returned = {output.tensor for output in graph.outputs} | {name for h in graph.host for name in h.xs}
    stops = {h.after for h in graph.host}
    return [_work(layer, layer.y in returned, number in stops) for number, layer in enumerate(graph.layers)]


def _work(layer: EngineLayer, in_ddr: bool, restart: bool) -> LayerWork:
    view, residual = layer.view, layer.residual
    survivors = None
    if layer.kind == "diagonal" and layer.weight is not None and not layer.weight.all():
        survivors = Survivors((layer.weight != 0)[:, None])
    if layer.kind == "dense" and layer.weight is not None:
        magnitudes = np.unique(np.abs(layer.weight[layer.weight != 0].astype(np.int64)))
        one_bit = len(magnitudes) == 1 and int(magnitudes[0]).bit_count() == 1 and int(magnitudes[0]) <= LARGEST_SIGN
        if one_bit or not layer.weight.all():
            survivors = Survivors(layer.weight != 0, one_bit)
    return replace(
        layer.work,
        dilation=layer.window.dilation,
        pads=layer.window.pads[:2],
        survivors=survivors,
        flow=Flow(
            reads=tuple((name, len(list(run))) for name, run in groupby(name for name, _ in view.groups)),
            writes=layer.y,
            operand=tuple(sorted(residual.view.storages)) if residual else (),
            broadcast=residual is not None and residual.broadcast,
            slots=layer.in_slots,
            pitch=view.pitch,
            top=view.top,
            phase=layer.phase,
            lookup=layer.table is not None,
            in_ddr=in_ddr,
            restart=restart,
        ),
    )
