"""Shape inference of the float graph."""

from __future__ import annotations

from collections.abc import Mapping

from proprune_cli.errors import InputError
from proprune_cli.ir.graph import Node
from proprune_cli.ir.nodes import Shape, ShapeError


def infer(node: Node, tensors: Mapping[str, Shape]) -> Shape:
    """Shape of ``node``'s output, from the shapes of its inputs.

    Raises:
        InputError: an input is missing, or its shape is not one that the node accepts.
    """
    for name in node.inputs:
        if name not in tensors:
            raise _bad(node, f"input {name!r} is not produced before it is read")
    try:
        return node.infer([tensors[name] for name in node.inputs])
    except ShapeError as error:
        raise _bad(node, str(error)) from error


def _bad(node: Node, what: str) -> InputError:
    return InputError(
        f"{type(node).__name__} {node.name!r}: {what}",
        where=f"node {node.name!r}",
        remedy="the model's shapes contradict each other; export it again and check it with onnx.checker",
    )
