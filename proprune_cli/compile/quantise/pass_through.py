"""Additions in which one operand has only some of the channels: what the others' channels need, and what they cost.

A convolution that dropped filters reaches an addition with zeros in their channels. There the sum is the other operand:
nothing has to be computed where the scales are the same and no clamp follows, or only one that changes nothing.
"""

from __future__ import annotations

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.compile.quantise.tables import function_of_node
from proprune_cli.ir.graph import Activation, Conv, Graph
from proprune_cli.ir.nodes import Add


def nonnegative(graph: Graph) -> set[str]:
    """Tensors whose codes cannot be negative: clamped by a ReLU or an activation, or made of such."""
    found: set[str] = set()
    for node in graph.nodes:
        function = isinstance(node, Activation) and function_of_node(node).nonnegative
        if node.never_negative or function or (node.keeps_signs and found.issuperset(node.inputs)):
            found.add(node.y)
    return found


def passed_operands(graph: Graph) -> list[tuple[str, str]]:
    """Operands whose channels pass through an addition where the other has none, each with the addition's result.

    The other operand is a convolution, read by the addition alone, that lacks at least a group of filters; the result
    is not clamped, or both operands show that it need not be.
    """
    readers, unsigned = graph.consumers(), nonnegative(graph)
    returned = {output.tensor for output in graph.outputs}
    makers = {node.y: node for node in graph.nodes}
    order = {node.y: index for index, node in enumerate(graph.nodes)}
    found: list[tuple[str, str]] = []
    for node in graph.nodes:
        if not isinstance(node, Add) or node.subtract or graph.tensors[node.a] != graph.tensors[node.b]:
            continue
        own, other = sorted((node.a, node.b), key=lambda name: -order.get(name, -1))
        conv = makers.get(own)
        if not isinstance(conv, Conv) or conv.groups != 1 or len(readers[own]) > 1 or own in returned:
            continue
        dropped = ~(conv.weight.any(axis=(1, 2, 3)) | (conv.bias != 0))
        if np.count_nonzero(dropped) >= isa.GROUP and (not node.relu or other in unsigned):
            found.append((other, node.y))
    return found
