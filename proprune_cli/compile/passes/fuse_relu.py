"""ReLU becomes part of the layer before it.

Handled: every kind that can be clamped (convolutions, Add, Mul, MaxPool), whose only reader is the ReLU; a ReLU after
a ReLU. Left alone: a ReLU of the network's input, or of a tensor that something else reads before the clamp.
"""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Affine, Graph, Node
from proprune_cli.ir.nodes import Clamping, Relu


def _run(graph: Graph) -> Graph:
    readers = graph.consumers()
    names: dict[str, str] = {}
    made: dict[str, int] = {}
    nodes: list[Node] = []
    for original in graph.nodes:
        node = original.reading(names)
        before = nodes[made[node.x]] if isinstance(node, Relu) and node.x in made else None
        if isinstance(before, Relu) or (isinstance(before, Clamping) and before.relu):
            # Already clamped. The readers of this node read the clamped tensor itself.
            names[original.y] = before.y
        elif isinstance(before, Clamping) and len(readers[before.y]) == 1 and before.y not in graph.returned:
            nodes[made[before.y]] = replace(before, y=node.y, relu=True)
            made[node.y] = made[before.y]
        else:
            made[node.y] = len(nodes)
            nodes.append(node)
    return with_nodes(graph, nodes, names)


FUSE_RELU = Pass("fuse-relu", _run, requires=(Affine,))
