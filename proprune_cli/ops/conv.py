"""Convolution: import rule and int8 reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Conv, Node, Pad
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, QConv
from proprune_cli.ir.window import signs
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.rounding import requantise
from proprune_cli.ops.windows import (
    gather,
    image_input,
    kernel_of,
    known_auto_pad,
    two_dimensional_or_cropped,
    window_fits,
    window_of,
)


def constant_weight(view: NodeView) -> str | None:
    """The weight is a float constant of the kernel's rank, the bias absent or a constant with one value per filter.

    Remedy: export the model in eval mode, so that weights are initializers
    """
    weight, bias = view.constant(1), view.constant(2)
    if weight is None:
        return f"the weight {view.input_name(1)!r} is computed at run time"
    if weight.ndim != 2 + len(kernel_of(view)) or weight.shape[2:] != kernel_of(view) or 0 in weight.shape:
        return f"a weight of shape {list(weight.shape)} for a kernel of {list(kernel_of(view))}"
    if view.input_name(2) and bias is None:
        return f"the bias {view.input_name(2)!r} is computed at run time"
    if bias is not None and bias.shape != weight.shape[:1]:
        return f"a bias of shape {list(bias.shape)} for {weight.shape[0]} filters"
    return None


def channels_agree(view: NodeView) -> str | None:
    """Groups divide the filters, and the input has groups times the weight's channels.

    Remedy: the model contradicts itself; export it again and check it with onnx.checker
    """
    weight = view.constant(1)
    groups = view.int_of("group", 1)
    if weight is None or groups < 1 or weight.shape[0] % groups or weight.shape[1] * groups != view.shape()[0]:
        shape = [] if weight is None else list(weight.shape)
        return f"group {groups}, weight {shape}, {view.shape()[0]} input channels"
    return None


def _build(view: NodeView) -> list[Node]:
    window, weight, bias = window_of(view), view.weights(1), view.weights(2)
    assert weight is not None
    x, cropped = view.x(), list[Node]()
    if min(window.pads) < 0:
        crop, grow = signs(window.pads)
        cropped.append(Pad(view.name + ".crop", x, view.y + ".cropped", crop))
        x, window = cropped[0].y, replace(window, pads=grow)
    return [
        *cropped,
        Conv(
            view.name,
            x,
            view.y,
            weight,
            np.zeros(weight.shape[0], np.float32) if bias is None else bias,
            window,
            view.int_of("group", 1),
        ),
    ]


CONV = Operator(
    "Conv",
    "taps: every (channel group, ky, kx) that has a weight",
    _build,
    (image_input, constant_weight, two_dimensional_or_cropped, known_auto_pad, channels_agree, window_fits),
)


def conv_reference(layer: QConv, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Integer convolution by gathered windows.

    The products are summed by a floating-point matrix product that is exact: every partial sum is an integer that the
    chosen type holds (float32 below ``ACCUMULATOR_LIMIT``, else float64).

    Args:
        x: int8 codes [C, H, W].

    Returns:
        int8 codes [O, out_h, out_w].
    """
    filters = len(layer.weight)
    columns = gather(x, layer.window, 0)
    out_h, out_w = columns.shape[3:]
    reach = 128 * np.abs(layer.weight.astype(np.int64)).reshape(filters, -1).sum(axis=1)
    exact = np.float32 if int(reach.max()) < ACCUMULATOR_LIMIT else np.float64
    flat = columns.reshape(layer.groups, -1, out_h * out_w).astype(exact)
    weight = layer.weight.reshape(layer.groups, filters // layer.groups, -1).astype(exact)
    sums = np.matmul(weight, flat).reshape(filters, out_h, out_w).astype(np.int64)
    accumulator = sums + layer.bias.astype(np.int64)[:, None, None]
    y = requantise(accumulator, layer.multiplier.astype(np.int64)[:, None, None])
    return np.maximum(y, 0) if layer.relu else y
