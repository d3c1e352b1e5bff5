"""Transpositions, with the reshapes around them, become a selection of channels or nothing.

Handled: a chain of Transpose and Reshape after which every image has its pixels in their places and its channels in
another order (a channel shuffle) or the same one (a change of layout that is undone). Refused: any other chain.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from proprune_cli.compile.passes.base import Pass
from proprune_cli.compile.passes.sources import refusal
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Graph, Identity, Node, Reshape, Transpose
from proprune_cli.ir.nodes import Select

Order = NDArray[np.int64]


def _run(graph: Graph) -> Graph:
    if not any(isinstance(node, Transpose) for node in graph.nodes):
        return graph
    # For every tensor of a chain: its source, the source's element at each place, and the transposition to blame.
    views: dict[str, tuple[str, Order, Transpose]] = {}
    sources: dict[str, str] = {}
    names: dict[str, str] = {}
    made: set[str] = set()
    kept: list[Node] = []

    def materialise(name: str) -> None:
        if name in views and name not in made:
            made.add(name)
            nodes = _nodes(graph, name, *views[name])
            kept.extend(nodes)
            if not nodes:
                names[name] = views[name][0]

    for node in graph.nodes:
        if isinstance(node, Reshape) and node.x not in views:
            # The chain's image is what the reshapes before the first transposition read.
            sources[node.y] = sources.get(node.x, node.x)
            kept.append(node)
        elif isinstance(node, Transpose | Reshape):
            if node.x in views:
                source, order, first = views[node.x]
            else:
                assert isinstance(node, Transpose)
                source, first = sources.get(node.x, node.x), node
                order = np.arange(prod(graph.tensors[node.x]), dtype=np.int64).reshape(graph.tensors[node.x])
            turned = order.transpose(node.perm) if isinstance(node, Transpose) else order.reshape(node.shape)
            views[node.y] = (source, turned, first)
        else:
            for name in node.inputs:
                materialise(name)
            kept.append(node.reading(names))
    for output in graph.outputs:
        materialise(output.tensor)
    return with_nodes(graph, kept, names)


def _nodes(graph: Graph, y: str, source: str, order: Order, blamed: Transpose) -> list[Node]:
    channels, *rest = graph.tensors[source]
    pixels = prod(rest)
    flat = order.reshape(channels, pixels)
    chosen = flat[:, 0] // pixels
    if not np.array_equal(flat, chosen[:, None] * pixels + np.arange(pixels)):
        raise refusal(
            graph,
            blamed,
            "it moves pixels, not whole channels",
            "export the model in the layout batch x channels x height x width",
        )
    shape = order.shape
    same = np.array_equal(chosen, np.arange(channels))
    name = f"{blamed.name}/{y}"
    if shape == graph.tensors[source]:
        return [] if same else [Select(name, source, y, chosen)]
    if same:
        return [Reshape(name, source, y, shape)]
    selected = y + ".selected"
    return [Select(name + ".select", source, selected, chosen), Reshape(name, selected, y, shape)]


FOLD_TRANSPOSE = Pass("fold-transpose", _run, requires=(Identity,), ensures=(Transpose,))
