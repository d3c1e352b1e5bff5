"""A zero padding becomes the padding of the convolutions and average poolings that read it.

Handled: readers that are Conv or AveragePool take it over; a Pad of a Pad of the same value that only grows. Left
alone: crops, other values and modes, other readers (max pooling among them, whose own padding never wins where a zero
may).
"""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.compile.passes.base import Pass
from proprune_cli.compile.passes.drop_dead import DROP_DEAD
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import AveragePool, Conv, Graph, Identity, Node, Pad
from proprune_cli.ir.window import Pads


def _run(graph: Graph) -> Graph:
    pads: dict[str, Pad] = {}
    kept: list[Node] = []
    for original in graph.nodes:
        node, before = original, pads.get(original.inputs[0])
        if isinstance(node, Pad):
            same = before is not None and (node.value, node.mode, before.mode) == (before.value, "constant", "constant")
            if before is not None and same and min(node.pads) >= 0:
                node = replace(node, x=before.x, pads=_sum(before.pads, node.pads))
            if min(node.pads) >= 0 and node.mode == "constant":
                pads[node.y] = node
        elif before is not None and before.value == 0.0 and isinstance(node, Conv | AveragePool):
            window = replace(node.window, pads=_sum(before.pads, node.window.pads))
            node = replace(node, x=before.x, window=window)
        kept.append(node)
    return DROP_DEAD.run(with_nodes(graph, kept))


def _sum(a: Pads, b: Pads) -> Pads:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


MERGE_PAD = Pass("merge-pad", _run, requires=(Identity,))
