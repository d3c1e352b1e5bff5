"""Activations that exporters write as several nodes become one.

Handled: ``clip(x + 3, 0, 6) / 6`` → HardSigmoid, ``x * sigmoid(x)`` → Silu, ``x * hard_sigmoid(x)`` → HardSwish (also
with the division after the product), ``x * tanh(softplus(x))`` → Mish. A factor with other readers stays for them.
"""

from __future__ import annotations

import numpy as np

from proprune_cli.compile.passes.base import Pass
from proprune_cli.compile.passes.drop_dead import DROP_DEAD
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Activation, Affine, Graph, Node
from proprune_cli.ir.nodes import Mul
from proprune_cli.ops.functions import HARD_SWISH

SIXTH = 1.0 / 6.0


def _run(graph: Graph) -> Graph:
    makers: dict[str, Node] = {}
    readers = graph.consumers()
    nodes: list[Node] = []
    for original in graph.nodes:
        node = _matched(original, makers, readers, graph.returned)
        makers[node.y] = node
        nodes.append(node)
    return DROP_DEAD.run(with_nodes(graph, nodes))


def _matched(node: Node, makers: dict[str, Node], readers: dict[str, list[Node]], outputs: frozenset[str]) -> Node:
    if isinstance(node, Mul):
        for x, gate in ((node.a, node.b), (node.b, node.a)):
            op = _gate(makers.get(gate), x, makers)
            if op:
                return Activation(node.name, x, node.y, op)
    if isinstance(node, Affine) and _uniform(node, SIXTH, 0.0):
        before = makers.get(node.x)
        x = _shifted_clip(before, makers)
        if x is not None:
            return Activation(node.name, x, node.y, "HardSigmoid", HARD_SWISH)
        if isinstance(before, Mul) and len(readers[before.y]) == 1 and before.y not in outputs:
            for x, gate in ((before.a, before.b), (before.b, before.a)):
                if _shifted_clip(makers.get(gate), makers) == x:
                    return Activation(node.name, x, node.y, "HardSwish")
    return node


def _gate(node: Node | None, x: str, makers: dict[str, Node]) -> str:
    """The activation that ``x`` times the result of ``node`` is, or nothing."""
    if not isinstance(node, Activation):
        return ""
    if node.op == "Sigmoid" and node.x == x:
        return "Silu"
    if node.op == "HardSigmoid" and node.x == x and np.allclose([v for _, v in node.attributes], [SIXTH, 0.5], 1e-6):
        return "HardSwish"
    inner = makers.get(node.x)
    mish = node.op == "Tanh" and isinstance(inner, Activation) and inner.op == "Softplus" and inner.x == x
    return "Mish" if mish else ""


def _shifted_clip(node: Node | None, makers: dict[str, Node]) -> str | None:
    """The tensor whose ``clip(x + 3, 0, 6)`` this node computes."""
    if not isinstance(node, Activation) or node.op != "Clip" or node.parameters != (0.0, 6.0):
        return None
    before = makers.get(node.x)
    return before.x if isinstance(before, Affine) and _uniform(before, 1.0, 3.0) else None


def _uniform(node: Affine, scale: float, shift: float) -> bool:
    return bool(np.allclose(node.scale, scale, 1e-6, 0.0) and np.allclose(node.shift, shift, 1e-6, 0.0))


MATCH_ACTIVATION = Pass("match-activation", _run)
