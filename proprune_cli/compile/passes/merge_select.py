"""Selections of channels merge: a selection of a selection reads the source, one that changes nothing disappears."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proprune_cli.compile.passes.base import Pass
from proprune_cli.compile.passes.drop_dead import DROP_DEAD
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Graph, Node
from proprune_cli.ir.nodes import Select


def _run(graph: Graph) -> Graph:
    names: dict[str, str] = {}
    selects: dict[str, Select] = {}
    kept: list[Node] = []
    for original in graph.nodes:
        node = original.reading(names)
        if isinstance(node, Select):
            before = selects.get(node.x)
            if before is not None:
                node = replace(node, x=before.x, channels=before.channels[node.channels])
            if np.array_equal(node.channels, np.arange(graph.tensors[node.x][0])):
                names[node.y] = node.x
                continue
            selects[node.y] = node
        kept.append(node)
    if not kept:
        return graph
    return DROP_DEAD.run(with_nodes(graph, kept, names))


MERGE_SELECT = Pass("merge-select", _run)
