"""A convolution that only copies channels and adds constant ones becomes part of the convolution before it.

A branch that dropped channels reaches an addition as its survivors, joined to constant planes and brought to the
stream's order: Concat, Gather. The import makes a convolution of one pixel of the first, whose filters each copy one
channel or none; a Select follows. Both fold into the branch's last convolution, which then has a filter for every
channel of the stream, zero where the branch dropped it, with the constant as its bias.

Handled: copy then Select; Conv of one group then copy, where nothing else reads what is between and
no filter is copied twice. Left alone: every other convolution, grouped ones before a copy among them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import AveragePool, Conv, Gemm, Graph, Node
from proprune_cli.ir.nodes import Select
from proprune_cli.ir.window import Window


def copied(conv: Conv) -> NDArray[np.int64] | None:
    """Which channel each filter of ``conv`` copies, int64 [out], -1 for a constant; None where it does more than that.

    A copied channel has no bias. A convolution without a constant channel is no copy: nothing is gained.
    """
    if conv.window != Window() or conv.groups != 1 or conv.relu:
        return None
    weight = conv.weight[:, :, 0, 0]
    ones = (weight == 1).sum(axis=1)
    if ones.max(initial=0) > 1 or not ones.any() or np.count_nonzero(weight) != ones.sum() or conv.bias[ones > 0].any():
        return None
    source = np.where(ones > 0, weight.argmax(axis=1), -1)
    return source if (source < 0).any() else None


def _joined(before: Conv, node: Conv | Select) -> Conv | None:
    """One convolution for ``before`` and the node that alone reads its result, or None."""
    if isinstance(node, Select):
        rows = node.channels
        if copied(before) is None:
            return None
        return replace(before, y=node.y, weight=before.weight[rows], bias=before.bias[rows])
    source = copied(node)
    if source is None or before.groups != 1:
        return None
    dropped = source < 0
    used = source[~dropped]
    if len(set(used.tolist())) < len(used) or before.relu:
        return None
    weight, bias = before.weight[source], np.where(dropped, node.bias, before.bias[source])
    weight[dropped] = 0
    return replace(before, y=node.y, weight=weight, bias=bias.astype(np.float32))


def _run(graph: Graph) -> Graph:
    readers = graph.consumers()
    returned = {output.tensor for output in graph.outputs}
    made: dict[str, int] = {}
    nodes: list[Node] = []
    # A copy and its Select first: after that the copy may be joined in turn.
    for kind in (Select, Conv):
        made, nodes, given = {}, [], nodes if kind is Conv else list(graph.nodes)
        for node in given:
            at = made.get(node.x) if isinstance(node, kind) and len(readers[node.x]) == 1 else None
            before = nodes[at] if at is not None else None
            joined: Conv | None = None
            if isinstance(node, Conv | Select) and isinstance(before, Conv) and node.x not in returned:
                joined = _joined(before, node)
            if at is not None and joined is not None:
                nodes[at] = joined
                made[joined.y] = at
            else:
                made[node.y] = len(nodes)
                nodes.append(node)
    return with_nodes(graph, nodes)


FOLD_COPY = Pass("fold-copy", _run, requires=(Gemm, AveragePool))
