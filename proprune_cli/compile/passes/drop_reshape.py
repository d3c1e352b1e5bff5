"""Flatten and Reshape disappear: every tensor keeps the shape channels x height x width it was computed in.

Handled: flattening before fully connected layers, ReLU, addition; reshapes that only add or remove axes of size 1.
Left alone: nothing. Refused: batch normalisation, or a constant added, per feature of a flattened image larger than
one pixel; additions of differently shaped images after a flatten.
"""

from __future__ import annotations

from proprune_cli.compile.passes.base import Pass
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.ir.edit import renamed
from proprune_cli.ir.graph import Add, Affine, Graph, Identity, Node, Reshape, Shape
from proprune_cli.ir.shapes import infer


def _run(graph: Graph) -> Graph:
    names: dict[str, str] = {}
    shapes: dict[str, Shape] = {graph.input: graph.tensors[graph.input]}
    kept: list[Node] = []
    for original in graph.nodes:
        node = renamed(original, names)
        if isinstance(node, Reshape):
            names[node.y] = node.x
            if len(node.shape) == 3 and node.shape != shapes[node.x]:
                raise _refuse(node, f"{list(shapes[node.x])} per image would become {list(node.shape)}")
            continue
        x = shapes[node.inputs[0]]
        if isinstance(node, Affine) and node.scale.shape[0] != x[0]:
            raise _refuse(node, f"one constant per feature of a flattened image of {list(x)}")
        if isinstance(node, Add) and x != shapes[node.b]:
            raise _refuse(node, f"flattened images of {list(x)} and {list(shapes[node.b])} are added")
        try:
            shapes[node.y] = infer(node, shapes)
        except InputError as error:
            raise _refuse(node, f"it reads a flattened image ({error.what})") from error
        kept.append(node)
    if not kept:
        raise UnsupportedError(
            "the network has no layer that computes anything",
            where=f"model {graph.name!r}",
            remedy="export the model with its layers",
        )
    return Graph(
        graph.name, shapes, tuple(kept), graph.input, names.get(graph.output, graph.output), graph.output_shape
    )


def _refuse(node: Node, reason: str) -> UnsupportedError:
    kind = type(node).__name__
    return UnsupportedError(
        f"{kind} {node.name!r} is not supported: {reason}",
        where=f"node {node.name!r}",
        remedy="do this before the tensor is flattened, or after a fully connected layer",
    )


DROP_RESHAPE = Pass("drop-reshape", _run, requires=(Identity,), ensures=(Reshape,))
