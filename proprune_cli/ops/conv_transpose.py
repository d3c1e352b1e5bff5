"""Transposed convolution: import rule and int8 reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import ConvTranspose, Node
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, QConvTranspose
from proprune_cli.ir.window import Pads, Pair, Window
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.rounding import requantise
from proprune_cli.ops.windows import LARGEST, factors, image_input, kernel_of, known_auto_pad, two_dimensional


def constant_weight(view: NodeView) -> str | None:
    """The weight is a float constant of the kernel's rank, the bias absent or a constant with one value per filter.

    Remedy: export the model in eval mode, so that weights are initializers
    """
    weight, bias = view.constant(1), view.constant(2)
    if weight is None:
        return f"the weight {view.input_name(1)!r} is computed at run time"
    if weight.ndim != 4 or weight.shape[2:] != kernel_of(view) or 0 in weight.shape:
        return f"a weight of shape {list(weight.shape)} for a kernel of {list(kernel_of(view))}"
    groups = view.int_of("group", 1)
    if groups < 1 or weight.shape[0] != view.shape()[0] or weight.shape[0] % groups:
        return f"group {groups}, weight {list(weight.shape)}, {view.shape()[0]} input channels"
    if view.input_name(2) and bias is None:
        return f"the bias {view.input_name(2)!r} is computed at run time"
    if bias is not None and bias.shape != (weight.shape[1] * groups,):
        return f"a bias of shape {list(bias.shape)} for {weight.shape[1] * groups} filters"
    return None


def possible_output_shape(view: NodeView) -> str | None:
    """output_shape is absent or has height and width, less than a stride beyond what the input makes.

    Remedy: give the size in numbers, by pads and output_padding
    """
    shape = view.ints_of("output_shape")
    if not shape:
        return None
    if len(shape) not in (2, 4) or min(shape) < 1 or max(shape[-2:]) > LARGEST:
        return f"output_shape {list(shape)}"
    beyond = [-total for total in _total_pads(view)]
    strides = _pair(view, "strides", 1)
    fits = all(n < max(stride, 1) for n, stride in zip(beyond, strides, strict=True))
    return None if fits else f"output_shape {list(shape)}, {max(beyond)} more than strides {list(strides)} make"


def same_that_covers(view: NodeView) -> str | None:
    """With auto_pad SAME_… and no output_shape, kernels reach from one stride to the next.

    Where they do not, ONNX and ONNX Runtime give different sizes.

    Remedy: give the size in numbers, by pads and output_padding
    """
    mode = view.string_of("auto_pad", "NOTSET")
    if view.ints_of("output_shape") or not mode.startswith("SAME") or min(_total_pads(view)) >= 0:
        return None
    return f"auto_pad {mode}, a kernel of {list(kernel_of(view))}"


def steps_in_reach(view: NodeView) -> str | None:
    """Each stride is at most 15, or the product of two numbers up to 15."""
    strides = _pair(view, "strides", 1)
    return f"strides {list(strides)}" if any(factors(stride) is None for stride in strides) else None


def small_output_padding(view: NodeView) -> str | None:
    """output_padding has two entries, from 0 to below the larger of stride and dilation, as ONNX Runtime wants it."""
    extra = view.ints_of("output_padding") or (0, 0)
    limits = zip(_pair(view, "strides", 1), _pair(view, "dilations", 1), strict=True)
    fits = len(extra) == 2 and all(0 <= n < max(limit) for n, limit in zip(extra, limits, strict=True))
    return None if fits else f"output_padding {list(extra)}"


def something_left(view: NodeView) -> str | None:
    """The pads leave something of the result, which is at most 4096 rows and columns.

    Remedy: use smaller pads
    """
    node = _node(view)
    _, height, width = view.shape()
    size = node.window.transposed_shape((height, width), node.extra)
    return None if min(size) >= 1 and max(size) <= LARGEST else f"pads {node.window.pads} leave {size[0]}x{size[1]}"


def _pair(view: NodeView, name: str, default: int) -> tuple[int, int]:
    given = view.ints_of(name) or (default, default)
    return (given[0], given[1])


def _node(view: NodeView) -> ConvTranspose:
    weight, bias, groups = view.weights(1), view.weights(2), view.int_of("group", 1)
    assert weight is not None
    cut, extra = _ends(view)
    return ConvTranspose(
        view.name,
        view.x(),
        view.y,
        weight,
        np.zeros(weight.shape[1] * groups, np.float32) if bias is None else bias,
        Window.over(weight.shape[2:], _pair(view, "strides", 1), cut, _pair(view, "dilations", 1)),
        extra,
        groups,
    )


def _total_pads(view: NodeView) -> list[int]:
    """What is cut off of rows and columns where ``output_shape`` or SAME gives the size; negative: what is added."""
    stride, dilation = _pair(view, "strides", 1), _pair(view, "dilations", 1)
    extra, kernel, size = _pair(view, "output_padding", 0), kernel_of(view), view.shape()[1:]
    shape = view.ints_of("output_shape")
    wanted = shape[-2:] if shape else [n * s for n, s in zip(size, stride, strict=True)]
    return [
        stride[i] * (size[i] - 1) + extra[i] + (kernel[i] - 1) * dilation[i] + 1 - wanted[i]
        for i in (0, 1)
    ]  # fmt: skip


def _ends(view: NodeView) -> tuple[Pads, Pair]:
    """What is cut off on all sides, and what is added below and to the right (ONNX operator ``ConvTranspose``)."""
    extra, mode = _pair(view, "output_padding", 0), view.string_of("auto_pad", "NOTSET")
    if not view.ints_of("output_shape") and mode in ("NOTSET", "VALID"):
        pads = (view.ints_of("pads") if mode == "NOTSET" else None) or (0, 0, 0, 0)
        return (pads[0], pads[1], pads[2], pads[3]), extra
    totals = _total_pads(view)
    cut = [max(total, 0) for total in totals]
    small, large = [n // 2 for n in cut], [n - n // 2 for n in cut]
    before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
    more = [extra[i] + max(-totals[i], 0) for i in (0, 1)]
    return (before[0], before[1], after[0], after[1]), (more[0], more[1])


def _build(view: NodeView) -> list[Node]:
    return [_node(view)]


CONV_TRANSPOSE = Operator(
    "ConvTranspose",
    "one tap list per output phase",
    _build,
    (
        image_input,
        constant_weight,
        two_dimensional,
        known_auto_pad,
        steps_in_reach,
        possible_output_shape,
        same_that_covers,
        small_output_padding,
        something_left,
    ),
)


def by_filter(weight: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """Transposed-convolution weights [in, out // groups, h, w] as [out, in // groups, h, w]."""
    channels, filters, height, width = weight.shape
    split = weight.reshape(groups, channels // groups, filters, height, width).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(split.reshape(groups * filters, channels // groups, height, width))


def by_channel(weight: NDArray[np.int8], groups: int) -> NDArray[np.int8]:
    """Back from [out, in // groups, h, w] to [in, out // groups, h, w]."""
    filters, channels, height, width = weight.shape
    split = weight.reshape(groups, filters // groups, channels, height, width).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(split.reshape(groups * channels, filters // groups, height, width))


def conv_transpose_reference(layer: QConvTranspose, x: NDArray[np.int8], size: tuple[int, int]) -> NDArray[np.int8]:
    """Integer transposed convolution: every input pixel adds its kernel to the result, which is then cut to ``size``.

    Args:
        x: int8 codes [C, H, W].

    Returns:
        int8 codes [O, *size].
    """
    channels, per_group, kernel_h, kernel_w = layer.weight.shape
    _, height, width = x.shape
    filters = per_group * layer.groups
    reach = 128 * np.abs(layer.weight.astype(np.int64)).sum(axis=(0, 2, 3)).max(initial=0)
    exact = np.float32 if int(reach) < ACCUMULATOR_LIMIT else np.float64
    weight = layer.weight.reshape(layer.groups, channels // layer.groups, -1).transpose(0, 2, 1).astype(exact)
    products = np.matmul(weight, x.reshape(layer.groups, channels // layer.groups, -1).astype(exact))
    products = products.reshape(filters, kernel_h, kernel_w, height, width).astype(np.int64)
    window = layer.window
    top, left = window.pads[:2]
    step_y, step_x = window.stride
    rows = max((height - 1) * step_y + window.extent[0], top + size[0])
    columns = max((width - 1) * step_x + window.extent[1], left + size[1])
    full = np.zeros((filters, rows, columns), np.int64)
    for i in range(kernel_h):
        for j in range(kernel_w):
            y, z = i * window.dilation[0], j * window.dilation[1]
            full[:, y : y + (height - 1) * step_y + 1 : step_y, z : z + (width - 1) * step_x + 1 : step_x] += products[
                :, i, j
            ]
    accumulator = full[:, top : top + size[0], left : left + size[1]] + layer.bias.astype(np.int64)[:, None, None]
    y_codes = requantise(accumulator, layer.multiplier.astype(np.int64)[:, None, None])
    return np.maximum(y_codes, np.int8(0)) if layer.relu else y_codes
