"""Flatten and Reshape disappear: every tensor keeps the shape channels x height x width it was computed in.

Handled: flattening before fully connected layers, element-wise operators of any shape, concatenation of flattened
images; shapes that only add or remove axes of size 1; any shape at the output. Refused: an operator that would read a
shape which the tensor does not have.
"""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.compile.passes.base import Pass
from proprune_cli.compile.passes.sources import refusal
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.ir.edit import renamed_outputs
from proprune_cli.ir.graph import Activation, Affine, Gemm, Graph, Identity, Node, Reshape, Transpose
from proprune_cli.ir.nodes import Add, Concat, Mul, Relu, Shape
from proprune_cli.ir.shapes import infer


def _run(graph: Graph) -> Graph:
    names: dict[str, str] = {}
    shapes: dict[str, Shape] = {graph.input: graph.tensors[graph.input]}
    kept: list[Node] = []
    for original in graph.nodes:
        node = original.reading(names)
        if isinstance(node, Reshape):
            names[node.y] = node.x
            continue
        declared = [graph.tensors[name] for name in original.inputs]
        actual = [shapes[name] for name in node.inputs]
        if isinstance(node, Affine) and len(declared[0]) == 1 and node.scale.shape[0] != actual[0][0]:
            raise _refuse(graph, node, f"one constant per feature of a flattened image of {list(actual[0])}")
        if not _order_is_enough(node, declared):
            for said, is_ in zip(declared, actual, strict=True):
                if said not in (is_, (is_[0],)) or (len(said) == 1 and is_[1:] != (1, 1)):
                    raise _refuse(graph, node, f"{list(is_)} per image would become {list(said)}")
        if isinstance(node, Add | Mul) and declared[0] == declared[1] and actual[0] != actual[1]:
            raise _refuse(graph, node, f"flattened images of {list(actual[0])} and {list(actual[1])} are combined")
        try:
            shapes[node.y] = infer(node, shapes)
        except InputError as error:
            raise _refuse(graph, node, f"it reads a flattened image ({error.what})") from error
        kept.append(node)
    if not kept:
        raise UnsupportedError(
            "the network has no layer that computes anything",
            where=f"model {graph.name!r}",
            remedy="export the model with its layers",
        )
    return replace(graph, tensors=shapes, nodes=tuple(kept), outputs=renamed_outputs(graph, names))


def _order_is_enough(node: Node, declared: list[Shape]) -> bool:
    """Whether the result depends on the order of the elements alone, not on how axes divide them."""
    if isinstance(node, Add | Mul):
        return declared[0] == declared[1]
    if isinstance(node, Concat):
        return node.axis == 1 and all(len(shape) == 1 for shape in declared)
    return isinstance(node, Activation | Relu | Gemm)


def _refuse(graph: Graph, node: Node, reason: str) -> UnsupportedError:
    return refusal(graph, node, reason, "do this before the tensor is reshaped, or after a fully connected layer")


DROP_RESHAPE = Pass("drop-reshape", _run, requires=(Identity, Transpose), ensures=(Reshape,))
