"""Identity and Dropout do nothing in inference: their readers read their input."""

from __future__ import annotations

from proprune_cli.compile.passes.base import Pass
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Graph, Identity, Node


def _run(graph: Graph) -> Graph:
    names: dict[str, str] = {}
    kept: list[Node] = []
    for node in (node.reading(names) for node in graph.nodes):
        # Sources are renamed first, so a chain of identities resolves to its beginning.
        if isinstance(node, Identity):
            names[node.y] = node.x
        else:
            kept.append(node.reading(names))
    if not kept:
        raise UnsupportedError(
            "the network has no layer that computes anything",
            where=f"model {graph.name!r}",
            remedy="export the model with its layers",
        )
    return with_nodes(graph, kept, names)


DROP_IDENTITY = Pass("drop-identity", _run, ensures=(Identity,))
