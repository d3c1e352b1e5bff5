"""A zero padding becomes the padding of the convolutions and average poolings that read it.

Handled: every reader is a Conv or an AveragePool, or another Pad. Refused: any other reader, max pooling among them,
whose own padding never wins where a zero may.
"""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.compile.passes.base import Pass
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import AveragePool, Conv, Graph, Identity, Node, Pad, Pads


def _run(graph: Graph) -> Graph:
    pads: dict[str, Pad] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        before = pads.get(node.inputs[0])
        if isinstance(node, Pad):
            pads[node.y] = node if before is None else replace(node, x=before.x, pads=_sum(before.pads, node.pads))
        elif before is not None and isinstance(node, Conv | AveragePool):
            kept.append(replace(node, x=before.x, pads=_sum(before.pads, node.pads)))
        else:
            for name in node.inputs:
                if name in pads:
                    raise _refuse(pads[name], type(node).__name__)
            kept.append(node)
    if graph.output in pads:
        raise _refuse(pads[graph.output], "the network's output")
    return with_nodes(graph, kept)


def _sum(a: Pads, b: Pads) -> Pads:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def _refuse(pad: Pad, reader: str) -> UnsupportedError:
    return UnsupportedError(
        f"Pad {pad.name!r} is not supported: {reader} reads the padded tensor, not a convolution or average pooling",
        where=f"node {pad.name!r}",
        remedy="give the padding to the layer itself",
    )


MERGE_PAD = Pass("merge-pad", _run, requires=(Identity,), ensures=(Pad,))
