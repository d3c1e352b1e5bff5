"""What a compiled network computes around its layers: pooling, norms of their own, copies, additions.

Pruning counts convolutions and fully connected layers, of any number of channels. The passes of the network at its
full width say which others stand between them, and which tensors each of them reads; a `Frame` states those for other
numbers of channels, so that nothing has to be compiled again while channels are chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.engine_layer import EngineGraph
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.compile.shapes import works_of
from proprune_cli.work.layer import Flow, LayerWork, Survivors

Widths = dict[str, int]
"""Tensor → its channels."""


@dataclass(frozen=True)
class Frame:
    """A network's passes at its full width, and which layer each of them computes.

    Attributes:
        passes: `proprune_cli.compile.shapes.works_of` the network.
        places: for each pass the slot of each channel that it reads, int64 [channels].
        owners: for each pass the index of its layer among those that pruning counts; None where it has none.
        orders: for each pass whether it only puts channels in order.
    """

    passes: tuple[LayerWork, ...]
    places: tuple[NDArray[np.int64], ...]
    owners: tuple[int | None, ...]
    orders: tuple[bool, ...]

    @classmethod
    def of(cls, graph: EngineGraph, layers: Sequence[LayerWork]) -> Frame | None:
        """The frame of a network whose ``layers`` are in ``graph``; None where one of them is not found there.

        A layer's passes compute one operator, which asks for as many multiply-accumulates and makes as many channels.
        """
        waiting = list(range(len(layers)))
        known: dict[str, int] = {}
        owners: list[int | None] = []
        passes = tuple(works_of(graph))
        for work in passes:
            operator = next((s for s in work.sources if s.macs), None)
            if operator is not None and operator.name not in known:
                size = operator.macs, work.out_channels
                owner = next((k for k in waiting if (layers[k].macs, layers[k].out_channels) == size), None)
                if owner is None:
                    return None
                waiting.remove(owner)
                known[operator.name] = owner
            owners.append(None if operator is None else known[operator.name])
        places = tuple(layer.view.slots for layer in graph.layers)
        orders = tuple(layer.orders for layer in graph.layers)
        return None if waiting else cls(passes, places, tuple(owners), orders)

    def attributed(self, layers: Sequence[LayerWork]) -> list[tuple[LayerWork, int | None]]:
        """The work of the whole network with ``layers`` of other widths, which stand in the order of `of`.

        With each work goes which of them it is; None where it is none of them.

        Where they are not as many as there the network is another one, and they are all that is known. A layer of no
        channels is gone: whoever added its output has the other operand alone.
        """
        if len(layers) != len(set(self.owners) - {None}):
            return [(layer, place) for place, layer in enumerate(layers) if layer.out_channels]
        full = self._full()
        least = self._read(layers, full)
        widths = dict(full)
        found: list[tuple[LayerWork, int | None]] = []
        told: set[int] = set()
        passed_on: dict[str, list[tuple[str, int]]] = {}
        gone: dict[str, str | None] = {}
        """Output of a pass that is gone → what is left in its place."""
        for work, places, owner, orders in zip(self.passes, self.places, self.owners, self.orders, strict=True):
            if owner in told:
                continue  # a layer becomes all its passes by itself
            flow = _without(_flow(work), gone)
            if not flow.reads or (owner is not None and not layers[owner].out_channels):
                gone[flow.writes] = flow.operand[0] if flow.operand else None
                continue
            work = replace(work, residual=work.residual and bool(flow.operand), flow=flow)
            asked = [part for read in flow.reads for part in passed_on.get(read[0], [read])]
            reads = tuple((name, _groups(name, groups, full, widths)) for name, groups in asked)
            whole = all(groups == _stored(full[name]) for name, groups in asked)
            if all(widths[name] == full[name] for name, _ in reads):
                slots = places
            else:
                slots = _slots([widths[name] for name, _ in reads]) if whole else None
            if orders and slots is not None and _spaced(slots) is None:
                passed_on[flow.writes] = asked  # they are in order as they are
                continue
            if owner is None:
                stated = _narrowed(work, reads, slots, full, widths)
            else:
                told.add(owner)
                stated = _layer(layers[owner], work, slots, least.get(flow.writes, 0))
            count = _lanes(stated, work, slots)
            stated = replace(stated, flow=replace(flow, reads=_holding(reads, count), slots=count))
            widths[flow.writes] = stated.out_channels
            found.append((stated, owner))
        return found

    def _full(self) -> Widths:
        """Channels of each tensor; of one that no pass writes, as many as one pass reads of it."""
        made: Widths = {}
        for work in self.passes:
            reads = _flow(work).reads
            for name, groups in reads:
                made.setdefault(name, work.in_channels if len(reads) == 1 else groups * isa.GROUP)
            made[_flow(work).writes] = work.out_channels
        return made

    def _read(self, layers: Sequence[LayerWork], full: Widths) -> Widths:
        """How many channels tensors have by those who read them: a stream may be wider than the layer that writes it
        has filters."""
        wanted: Widths = {}
        for work, owner in zip(reversed(self.passes), reversed(self.owners), strict=True):
            flow = _flow(work)
            inside = wanted.get(flow.writes)
            if inside is not None:
                for name in flow.operand:
                    wanted.setdefault(name, inside)
            if owner is not None and not layers[owner].out_channels:
                continue
            if owner is not None:
                inside = layers[owner].in_channels
            if inside is not None and len(flow.reads) == 1:
                (name, _), *_ = flow.reads
                if full[name] == work.in_channels:
                    wanted.setdefault(name, inside)
        return wanted


def frame_of(model: onnx.ModelProto, images: NDArray[np.float32], layers: Sequence[LayerWork]) -> Frame | None:
    """`Frame.of` an ONNX network.

    Args:
        images: calibration images, float32 [N, C, H, W].

    Raises:
        ProPruneError: the compiler does not take it.
    """
    return Frame.of(fuse(cluster(quantise(canonicalise(import_onnx(model)), images)[0])[0]), layers)


def _flow(work: LayerWork) -> Flow:
    assert work.flow is not None, "passes say what they read"
    return work.flow


def _without(flow: Flow, gone: Mapping[str, str | None]) -> Flow:
    """The same where some tensors are ``gone``, and what is left in the place of others."""
    reads = tuple((left, groups) for name, groups in flow.reads if (left := _left(name, gone)) is not None)
    operand = tuple(left for name in flow.operand if (left := _left(name, gone)) is not None)
    return replace(flow, reads=reads, operand=operand)


def _left(name: str, gone: Mapping[str, str | None]) -> str | None:
    found: str | None = name
    while found is not None and found in gone:
        found = gone[found]
    return found


def _stored(channels: int) -> int:
    return -(-channels // isa.GROUP)


def _groups(name: str, groups: int, full: Widths, widths: Widths) -> int:
    """Channel groups that are read of a tensor of another width; of a part of it, the same share."""
    whole, now = _stored(full[name]), _stored(widths[name])
    return now if groups == whole else max(1, round(groups * now / whole))


def _slots(widths: Sequence[int]) -> NDArray[np.int64]:
    """Places of the channels of tensors that stand side by side, each from the begin of a group: int64 [channels]."""
    starts = np.cumsum([0, *(_stored(width) * isa.GROUP for width in widths)])
    return np.concatenate([start + np.arange(width) for start, width in zip(starts, widths, strict=False)])


def _spaced(slots: NDArray[np.int64]) -> int | None:
    """Lanes' channels where there are gaps between channels, or another order; None where they are just in order."""
    last = int(slots.max()) + 1
    return _stored(last) * isa.GROUP if (slots != np.arange(len(slots))).any() else None


def _holding(reads: tuple[tuple[str, int], ...], slots: int) -> tuple[tuple[str, int], ...]:
    """The same with as many groups as ``slots`` need, the last tensor's corrected."""
    (name, groups), before = reads[-1], sum(groups for _, groups in reads[:-1])
    return (*reads[:-1], (name, max(_stored(slots) - before, min(groups, 1))))


def _lanes(stated: LayerWork, work: LayerWork, slots: NDArray[np.int64] | None) -> int:
    """Channels as the lanes see them, gaps included."""
    if slots is not None and len(slots) == stated.in_channels:
        return _spaced(slots) or stated.in_channels
    before = _flow(work).slots or work.in_channels
    return stated.in_channels + (before - work.in_channels)


def _layer(layer: LayerWork, work: LayerWork, slots: NDArray[np.int64] | None, least: int) -> LayerWork:
    """A layer of pruning's with what the compiler does along with it, its filters spread over ``least`` channels."""
    layer = replace(layer, residual=work.residual)
    if layer.unit != "dense" or layer.kind != "conv" or layer.groups != 1:
        return layer
    outs = max(layer.out_channels, least)
    width = _spaced(slots) if slots is not None and len(slots) == layer.in_channels else None
    if outs == layer.out_channels and width is None:
        return layer
    one_bit = layer.survivors is not None and layer.survivors.one_bit
    positions = int(np.prod(layer.kernel))
    known = np.ones((layer.out_channels, layer.in_channels, positions), np.bool_)
    known = known if layer.survivors is None else layer.survivors.nonzero
    nonzero = np.zeros((outs, width or layer.in_channels, positions), dtype=np.bool_)
    nonzero[: layer.out_channels, slice(None) if width is None else slots] = known
    return replace(layer, out_channels=outs, survivors=Survivors(nonzero, one_bit), taps=None)


def _narrowed(
    work: LayerWork,
    reads: tuple[tuple[str, int], ...],
    slots: NDArray[np.int64] | None,
    full: Widths,
    widths: Mapping[str, int],
) -> LayerWork:
    """A pass that is no layer's, with as many channels as are there to be read."""
    flow = _flow(work)
    if slots is not None:
        channels = len(slots)
    else:
        share = sum(widths[name] for name, _ in reads) / sum(full[name] for name, _ in reads)
        channels = max(1, round(work.in_channels * share))
    if channels == work.in_channels and all(widths[name] == full[name] for name, _ in flow.reads):
        return work
    out = max(1, round(work.out_channels * channels / work.in_channels))
    stated = replace(work, in_channels=channels, out_channels=out, taps=None, survivors=None)
    if work.kind != "conv" or out != channels:
        return stated
    if work.groups == 1 and not _each_its_own(work):
        return stated
    # A channel for each: by itself where lanes and outputs agree, else as a matrix with one weight in each row.
    width = None if slots is None else _spaced(slots)
    if slots is None or width is None:
        return replace(stated, groups=channels)
    nonzero = np.zeros((channels, width, int(np.prod(work.kernel))), dtype=np.bool_)
    nonzero[np.arange(channels), slots] = True
    return replace(stated, groups=1, survivors=Survivors(nonzero))


def _each_its_own(work: LayerWork) -> bool:
    """Whether every output of a dense pass reads one channel."""
    if work.survivors is None:
        return False
    return bool((work.survivors.nonzero.any(axis=2).sum(axis=1) <= 1).all())
