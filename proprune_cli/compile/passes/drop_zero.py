"""An addition of what is 0 everywhere is no addition.

A branch that was pruned away ends in a convolution without any weight, whatever comes before it. Its addition to the
stream goes, and with it, by dead code elimination, all that only the branch computed.

Handled: sums, and differences with what is subtracted, of which a convolution without weights and biases gives an
operand. Left alone: 0 minus something, an operand of one pixel that would be spread over the zeros, and a network whose
output would be its input.
"""

from __future__ import annotations

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Conv, ConvTranspose, Graph, Node
from proprune_cli.ir.nodes import Add, Relu


def _run(graph: Graph) -> Graph:
    zeros = {
        node.y
        for node in graph.nodes
        if isinstance(node, Conv | ConvTranspose) and not node.weight.any() and not node.bias.any()
    }
    names: dict[str, str] = {}
    nodes: list[Node] = []
    for original in graph.nodes:
        node = original.reading(names)
        if isinstance(node, Add):
            other = _other(node, zeros)
            if other is not None and graph.tensors[other] == graph.tensors[node.y]:
                if node.relu:
                    nodes.append(Relu(node.name, other, node.y))
                else:
                    names[node.y] = other
                if other in zeros:
                    zeros.add(node.y)
                continue
        nodes.append(node)
    if graph.input in (names.get(tensor) for tensor in graph.returned):
        return graph
    return with_nodes(graph, nodes, names)


def _other(node: Add, zeros: set[str]) -> str | None:
    """The operand that is all there is of the result; None where none is."""
    if node.b in zeros:
        return node.a
    return node.b if node.a in zeros and not node.subtract else None


DROP_ZERO = Pass("drop-zero", _run)
