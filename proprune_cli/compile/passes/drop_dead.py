"""Nodes whose result reaches no output are dropped."""

from __future__ import annotations

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Graph, Node


def _run(graph: Graph) -> Graph:
    needed = set(graph.returned)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.y in needed:
            needed.update(node.inputs)
            kept.append(node)
    return with_nodes(graph, reversed(kept))


DROP_DEAD = Pass("drop-dead", _run)
