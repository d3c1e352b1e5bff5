"""Which operators of the model a node computes, kept up through every pass without any of them knowing."""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import Graph, Node
from proprune_cli.work.layer import SourceOperator


def refusal(graph: Graph, node: Node, reason: str, remedy: str) -> UnsupportedError:
    """The error for a node that a pass cannot express, by the model's own name and operator."""
    source = next(iter(graph.sources.get(node.name, ())), SourceOperator(type(node).__name__, node.name))
    return UnsupportedError(
        f"{source.operator} {source.name!r} is not supported: {reason}",
        where=f"node {source.name!r} ({source.operator})",
        remedy=remedy,
    )


def inheriting(after: Graph, before: Graph) -> Graph:
    """``after``, a pass's result, in which nodes that are gone leave their operators to those that took over.

    That is whoever makes a gone node's tensor now; else those who read it before, and now do its work; else whoever
    makes what it read.
    """
    names = {node.name for node in after.nodes}
    gone = [node for node in before.nodes if node.name not in names]
    if not gone:
        return after
    now, then = ({node.y: node.name for node in graph.nodes} for graph in (after, before))
    readers = before.consumers()
    heirs: dict[str, tuple[str, ...]] = {node.name: (node.name,) for node in after.nodes}
    for node in reversed(gone):
        if node.y in now:
            heirs[node.name] = (now[node.y],)
        else:
            found = (heir for reader in readers[node.y] for heir in heirs.get(reader.name, ()))
            heirs[node.name] = tuple(dict.fromkeys(found))
    for node in gone:
        if not heirs[node.name]:
            x = node.inputs[0]
            heirs[node.name] = (now[x],) if x in now else heirs.get(then.get(x, ""), ())
    given: dict[str, set[SourceOperator]] = {}
    for node in before.nodes:
        for heir in heirs[node.name]:
            given.setdefault(heir, set()).update(before.sources.get(node.name, ()))
    place = {s: i for i, s in enumerate(s for node in before.nodes for s in before.sources.get(node.name, ()))}
    sources = {name: tuple(sorted(found, key=place.__getitem__)) for name, found in given.items() if found}
    return replace(after, sources=sources)
