"""The float graph's invariants, checked between passes: a fault surfaces where it is made."""

from __future__ import annotations

from collections.abc import Collection
from math import prod

import numpy as np

from proprune_cli.errors import InputError
from proprune_cli.ir.graph import Graph, Node, NodeKind
from proprune_cli.ir.shapes import infer


class InvariantError(AssertionError):
    """A pass broke the graph: a bug of ours, never a user's error."""


def verify(graph: Graph, *, absent: Collection[NodeKind] = (), after: str = "") -> None:
    """Check single assignment, order, shapes and weights.

    Args:
        absent: kinds of node that may not occur.
        after: the pass that ran last, for the message.

    Raises:
        InvariantError: naming the first rule that is broken.
        InputError: a weight is not finite, as when the model's own factors overflow.
    """
    stage = f" after {after}" if after else ""
    seen = {graph.input: graph.tensors[graph.input]}
    names: set[str] = set()
    for node in graph.nodes:
        where = f"{type(node).__name__} {node.name!r}{stage}"
        if type(node) in absent:
            raise InvariantError(f"{where}: this kind of node should be gone")
        if node.name in names:
            raise InvariantError(f"{where}: two nodes have this name")
        if node.y in seen:
            raise InvariantError(f"{where}: tensor {node.y!r} is assigned twice")
        try:
            shape = infer(node, seen)
        except InputError as error:
            raise InvariantError(f"{where}: {error.what}") from error
        if graph.tensors.get(node.y) != shape:
            raise InvariantError(f"{where}: {node.y!r} is recorded as {graph.tensors.get(node.y)}, is {shape}")
        fault = _weights(node)
        if fault:
            raise InvariantError(f"{where}: {fault}")
        names.add(node.name)
        seen[node.y] = shape
    if set(graph.tensors) != set(seen):
        raise InvariantError(f"tensors{stage} that no node makes: {sorted(set(graph.tensors) - set(seen))}")
    if len({output.name for output in graph.outputs}) != len(graph.outputs) or not graph.outputs:
        raise InvariantError(f"there is no output, or two have one name{stage}")
    for output in graph.outputs:
        if output.tensor not in seen:
            raise InvariantError(f"the output {output.tensor!r} is not produced{stage}")
        if prod(seen[output.tensor]) != prod(output.shape):
            raise InvariantError(f"{output.name!r} has {seen[output.tensor]}, the model says {output.shape}{stage}")


def _weights(node: Node) -> str:
    if fault := node.fault():
        return fault
    for what, array, rank in node.weights():
        if array.dtype != np.float32 or array.ndim != rank:
            return f"{what} is {array.dtype} of rank {array.ndim}, should be float32 of rank {rank}"
        if not np.isfinite(array).all():
            raise InputError(
                f"the {what} of {type(node).__name__} {node.name!r} becomes NaN or infinite when constants are folded",
                where=f"node {node.name!r}",
                remedy="the weights are too large for float32, or damaged: export another checkpoint",
            )
    return ""
