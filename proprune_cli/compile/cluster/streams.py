"""Channels of streams in an order that suits those who write them: a permutation through the whole quantised network.

A stream is a set of tensors joined by additions and by layers that keep channels apart: they share one order. It is
changed where a convolution that writes the stream dropped some of its channels; filters, biases and the readers'
weights follow. The network's input and outputs, and what is joined by channels, computed by the host or convolved in
groups, keep their order. Every code stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.compile.cluster.channel_order import channel_order, touched_groups
from proprune_cli.compile.cluster.known_codes import live_filters
from proprune_cli.ir.nodes import Concat as Concat
from proprune_cli.ir.nodes import Host as Host
from proprune_cli.ir.nodes import Select as Select
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer

Orders = dict[str, NDArray[np.int64]]
"""For each tensor whose channels move: the channel that stood before where now each one stands, int64 [channels]."""


@dataclass(frozen=True)
class Stream:
    """A stream whose channels moved.

    Attributes:
        tensors: their names. channels: how many each of them has.
        writers: convolutions that write it. before, after: channel groups that they compute, all together.
    """

    tensors: tuple[str, ...]
    channels: int
    writers: tuple[str, ...]
    before: int
    after: int


def cluster(graph: QGraph) -> tuple[QGraph, tuple[Stream, ...]]:
    """The same network with the channels of its streams in another order, and the streams for which that pays."""
    orders: Orders = {}
    streams: list[Stream] = []
    for names, writers in _free_streams(graph):
        live = np.stack([live_filters(w.weight, w.bias, w.multiplier) for w in writers])
        costs = np.array([_cost(w, graph) for w in writers], dtype=np.int64)
        order = channel_order(live, costs)
        if (order == np.arange(len(order))).all():
            continue
        orders.update(dict.fromkeys(names, order))
        before, after = (int(touched_groups(one).sum()) for one in (live, live[:, order]))
        streams.append(Stream(tuple(names), len(order), tuple(w.name for w in writers), before, after))
    if not orders:
        return graph, ()
    return replace(graph, layers=tuple(_moved(layer, orders) for layer in graph.layers)), tuple(streams)


def _cost(conv: QConv, graph: QGraph) -> int:
    """What a group of output channels costs, in cycles of an array of lanes as wide as a group."""
    y = graph.tensors[conv.y]
    return max(prod(conv.weight.shape[1:]) * y.height * y.width // isa.GROUP, 1)


def _depthwise(layer: QLayer, graph: QGraph) -> bool:
    return (
        isinstance(layer, QConv | QConvTranspose)
        and layer.groups == graph.tensors[layer.x].channels == graph.tensors[layer.y].channels
        and layer.groups > 1
    )


def _free_streams(graph: QGraph) -> list[tuple[list[str], list[QConv]]]:
    """Streams whose order is free and of some use: tensors, and the convolutions that write them, some in part."""
    parent = {name: name for name in graph.tensors}

    def head(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    fixed = {graph.input, *(output.tensor for output in graph.outputs)}
    writers: list[QConv] = []
    for layer in graph.layers:
        if isinstance(layer, Host) or (isinstance(layer, Concat) and layer.axis == 1):
            fixed.update((*layer.inputs, layer.y))
        elif isinstance(layer, QConv | QConvTranspose) and not _depthwise(layer, graph):
            if layer.groups > 1:
                fixed.update((layer.x, layer.y))
            elif isinstance(layer, QConv):
                writers.append(layer)
        elif not isinstance(layer, Select):
            for name in layer.inputs:
                parent[head(layer.y)] = head(name)
    pinned = {head(name) for name in fixed}
    members: dict[str, list[str]] = {}
    for name in graph.tensors:
        members.setdefault(head(name), []).append(name)
    found: list[tuple[list[str], list[QConv]]] = []
    for stream, names in members.items():
        mine = [w for w in writers if head(w.y) == stream]
        partial = any(not live_filters(w.weight, w.bias, w.multiplier).all() for w in mine)
        if partial and stream not in pinned and graph.tensors[stream].channels > isa.GROUP:
            found.append((names, mine))
    return found


def _moved(layer: QLayer, orders: Orders) -> QLayer:
    """``layer`` between tensors whose channels moved."""
    x, y = orders.get(layer.inputs[0]), orders.get(layer.y)
    if x is None and y is None:
        return layer
    if isinstance(layer, Select):
        channels = layer.channels if y is None else layer.channels[y]
        return replace(layer, channels=channels if x is None else np.argsort(x)[channels])
    if isinstance(layer, QConv | QConvTranspose):
        weight = layer.weight
        if layer.groups > 1:  # depthwise: input and output have one order
            weight = weight[y]
        elif isinstance(layer, QConv):
            weight = weight if x is None else weight[:, x]
            weight = weight if y is None else weight[y]
        else:
            weight = weight if x is None else weight[x]
            weight = weight if y is None else weight[:, y]
        bias, multiplier = (v if y is None else v[y] for v in (layer.bias, layer.multiplier))
        return replace(layer, weight=np.ascontiguousarray(weight), bias=bias, multiplier=multiplier)
    return layer
