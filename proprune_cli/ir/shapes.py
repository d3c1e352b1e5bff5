"""Shape inference of the float graph, and the window arithmetic shared with the operators' constraints."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from proprune_cli.errors import InputError
from proprune_cli.ir.graph import (
    Add,
    Affine,
    AveragePool,
    Conv,
    Gemm,
    MaxPool,
    Node,
    Pad,
    Pads,
    Pair,
    Reshape,
    Shape,
)


def window_count(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """How many windows fit along one axis of ``size`` elements, rounded down (ONNX ``ceil_mode=0``); may be <= 0."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def window_shape(size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair) -> Pair:
    """Output (height, width) of a convolution or pooling over ``size`` = (height, width)."""
    return (
        window_count(size[0], kernel[0], stride[0], pads[0], pads[2], dilation[0]),
        window_count(size[1], kernel[1], stride[1], pads[1], pads[3], dilation[1]),
    )


def infer(node: Node, tensors: Mapping[str, Shape]) -> Shape:
    """Shape of ``node``'s output, from the shapes of its inputs.

    Raises:
        InputError: an input is missing, or its shape is not one that the node accepts.
    """
    for name in node.inputs:
        if name not in tensors:
            raise _bad(node, f"input {name!r} is not produced before it is read")
    x = tensors[node.inputs[0]]
    if isinstance(node, Conv):
        _image(node, x)
        if x[0] != node.weight.shape[1] * node.groups:
            raise _bad(node, f"its weight wants {node.weight.shape[1] * node.groups} input channels, {x[0]} arrive")
        kernel = (node.weight.shape[2], node.weight.shape[3])
        return (node.weight.shape[0], *_windows(node, x, kernel))
    if isinstance(node, MaxPool | AveragePool):
        _image(node, x)
        return (x[0], *_windows(node, x, node.kernel))
    if isinstance(node, Gemm):
        if prod(x) != node.weight.shape[1]:
            raise _bad(node, f"its weight wants {node.weight.shape[1]} input features, {prod(x)} arrive")
        return (node.weight.shape[0],) if len(x) == 1 else (node.weight.shape[0], 1, 1)
    if isinstance(node, Affine):
        if x[0] != node.scale.shape[0]:
            raise _bad(node, f"it has {node.scale.shape[0]} channels, {x[0]} arrive")
        return x
    if isinstance(node, Add):
        if x != tensors[node.b]:
            raise _bad(node, f"its operands have different shapes, {list(x)} and {list(tensors[node.b])}")
        return x
    if isinstance(node, Pad):
        _image(node, x)
        return (x[0], x[1] + node.pads[0] + node.pads[2], x[2] + node.pads[1] + node.pads[3])
    if isinstance(node, Reshape):
        if prod(x) != prod(node.shape):
            raise _bad(node, f"{prod(x)} elements of shape {list(x)} cannot take the shape {list(node.shape)}")
        return node.shape
    return x


def _windows(node: Conv | MaxPool | AveragePool, x: Shape, kernel: Pair) -> Pair:
    size = window_shape((x[1], x[2]), kernel, node.stride, node.pads, node.dilation)
    if min(size) < 1:
        raise _bad(node, f"a kernel of {kernel[0]}x{kernel[1]} does not fit into an input of {x[1]}x{x[2]}")
    return size


def _image(node: Node, x: Shape) -> None:
    if len(x) != 3:
        raise _bad(node, f"it needs a channels x height x width tensor, {list(x)} arrives")


def _bad(node: Node, what: str) -> InputError:
    return InputError(
        f"{type(node).__name__} {node.name!r}: {what}",
        where=f"node {node.name!r}",
        remedy="the model's shapes contradict each other; export it again and check it with onnx.checker",
    )
