"""Shape inference of the float graph, and the window arithmetic shared with the operators' constraints."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from proprune_cli.errors import InputError
from proprune_cli.ir.graph import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Gemm,
    Host,
    MaxPool,
    Mul,
    Node,
    Pad,
    Pads,
    Pair,
    Reshape,
    Select,
    Shape,
    Transpose,
    Upsample,
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


def transposed_shape(size: Pair, kernel: Pair, stride: Pair, pads: Pads, extra: Pair, dilation: Pair) -> Pair:
    """Output (height, width) of a transposed convolution over ``size`` = (height, width)."""
    full = [(size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + extra[i] for i in (0, 1)]
    return (full[0] - pads[0] - pads[2], full[1] - pads[1] - pads[3])


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
    if isinstance(node, Add | Mul):
        b = tensors[node.b]
        if x != b and (len(x) != 3 or b != (x[0], 1, 1)):
            raise _bad(node, f"its operands have different shapes, {list(x)} and {list(b)}")
        return x
    return _moved(node, x, tensors)


def _moved(node: Node, x: Shape, tensors: Mapping[str, Shape]) -> Shape:
    """Shapes of what moves numbers and computes none; of everything else, the input's."""
    if isinstance(node, ConvTranspose):
        _image(node, x)
        if x[0] != node.weight.shape[0]:
            raise _bad(node, f"its weight wants {node.weight.shape[0]} input channels, {x[0]} arrive")
        size = transposed_shape(
            (x[1], x[2]),
            (node.weight.shape[2], node.weight.shape[3]),
            node.stride,
            node.pads,
            node.extra,
            node.dilation,
        )
        if min(size) < 1:
            raise _bad(node, f"its padding leaves nothing of an input of {x[1]}x{x[2]}")
        return (node.weight.shape[1] * node.groups, *size)
    if isinstance(node, Concat):
        shapes = [tensors[name] for name in node.xs]
        at = node.axis - 1
        if at >= len(x) or any((*shape[:at], *shape[at + 1 :]) != (*x[:at], *x[at + 1 :]) for shape in shapes):
            raise _bad(node, f"its inputs have different sizes, {[list(shape) for shape in shapes]}")
        return (*x[:at], sum(shape[at] for shape in shapes), *x[at + 1 :])
    if isinstance(node, Host):
        for name in node.xs:
            _image(node, tensors[name])
        return node.shape
    if isinstance(node, Select):
        if not node.channels.size or int(node.channels.min()) < 0 or int(node.channels.max()) >= x[0]:
            raise _bad(node, f"it selects channels that a tensor of {x[0]} does not have")
        return (int(node.channels.size), *x[1:])
    if isinstance(node, Upsample):
        _image(node, x)
        return (x[0], x[1] * node.scale[0], x[2] * node.scale[1])
    if isinstance(node, Pad):
        _image(node, x)
        size = (x[1] + node.pads[0] + node.pads[2], x[2] + node.pads[1] + node.pads[3])
        if min(size) < 1 or min(x[1] + min(node.pads[0], node.pads[2]), x[2] + min(node.pads[1], node.pads[3])) < 1:
            raise _bad(node, f"nothing is left of {x[1]}x{x[2]} after pads of {list(node.pads)}")
        least = max(node.pads[0], node.pads[2]) < x[1] and max(node.pads[1], node.pads[3]) < x[2]
        if node.mode != "constant" and (min(node.pads) < 0 or (node.mode == "reflect" and not least)):
            raise _bad(node, f"pads of {list(node.pads)} in mode {node.mode} do not fit {x[1]}x{x[2]}")
        return (x[0], *size)
    if isinstance(node, Transpose):
        if sorted(node.perm) != list(range(len(x))):
            raise _bad(node, f"the order {list(node.perm)} of {len(x)} axes")
        return tuple(x[axis] for axis in node.perm)
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
