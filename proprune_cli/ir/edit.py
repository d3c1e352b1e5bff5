"""How passes change a float graph: replace nodes, infer the shapes again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from proprune_cli.ir.graph import Graph, Node, Shape
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.shapes import infer


def with_nodes(graph: Graph, nodes: Iterable[Node], names: Mapping[str, str] | None = None) -> Graph:
    """``graph`` with other nodes, and outputs renamed as ``names`` says.

    Every shape is inferred afresh, so tensors that nobody makes any more are gone.

    Raises:
        InputError: a node does not accept the shape that reaches it.
    """
    kept = tuple(nodes)
    tensors: dict[str, Shape] = {graph.input: graph.tensors[graph.input]}
    for node in kept:
        tensors[node.y] = infer(node, tensors)
    return replace(graph, tensors=tensors, nodes=kept, outputs=renamed_outputs(graph, names or {}))


def renamed_outputs(graph: Graph, names: Mapping[str, str]) -> tuple[Output, ...]:
    """The outputs of ``graph`` from the tensors that ``names`` says; their own names stay."""
    return tuple(replace(output, tensor=names.get(output.tensor, output.tensor)) for output in graph.outputs)
