"""Sliding windows: reading their ONNX attributes, the constraints on them, and gathering them in NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.window import Pair, Window
from proprune_cli.ops.importing import NodeView

LARGEST = 4096
"""Kernels, strides, dilations and pads beyond this are taken for damage."""

LARGEST_STEP = 15
"""Rows or columns from one output pixel of a pass to the next, and of factors by which images grow."""

Scalar = TypeVar("Scalar", bound=np.generic)


def factors(step: int) -> Pair | None:
    """Two factors of ``step`` of at most ``LARGEST_STEP`` with the least sum of squares, the larger one first.

    The second is 1 where ``step`` itself is small enough; None where there are none.
    """
    if step <= LARGEST_STEP:
        return step, 1
    found = [(step // n, n) for n in range(2, LARGEST_STEP + 1) if step % n == 0 and n <= step // n <= LARGEST_STEP]
    return min(found, key=lambda pair: pair[0] ** 2 + pair[1] ** 2, default=None)


def kernel_of(view: NodeView) -> tuple[int, ...]:
    """``kernel_shape``, or for a convolution without it the weight's."""
    declared = view.ints_of("kernel_shape")
    if declared is not None:
        return declared
    weight = view.constant(1)
    return tuple(int(n) for n in weight.shape[2:]) if weight is not None else ()


def window_of(view: NodeView) -> Window:
    """The node's window with ``auto_pad`` and ``ceil_mode`` resolved into explicit padding.

    Call it after ``image_input``, ``two_dimensional`` and ``known_auto_pad`` have held.
    """
    kernel = _pair(kernel_of(view))
    stride = _pair(view.ints_of("strides") or (1, 1))
    dilation = _pair(view.ints_of("dilations") or (1, 1))
    _, height, width = view.shape()
    window = Window(kernel, stride, (0, 0, 0, 0), dilation)
    mode = view.string_of("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        ends = [
            _same(size, window.extent[axis], stride[axis], upper=mode == "SAME_UPPER")
            for axis, size in enumerate((height, width))
        ]
        return replace(window, pads=(ends[0][0], ends[1][0], ends[0][1], ends[1][1]))
    declared = view.ints_of("pads") if mode == "NOTSET" else None
    if declared is not None:
        window = replace(window, pads=(declared[0], declared[1], declared[2], declared[3]))
    if view.int_of("ceil_mode", 0):
        over = ceil_excess(view, window)
        top, left, bottom, right = window.pads
        window = replace(window, pads=(top, left, bottom + over[0], right + over[1]))
    return window


def ceil_excess(view: NodeView, window: Window) -> Pair:
    """Rows and columns that the last, partial windows of ``ceil_mode=1`` need beyond the padded input.

    A window that would start in the padding behind the input is none (ONNX operators ``MaxPool``, ``AveragePool``).
    """
    return (_excess(view.shape()[1], window, 0), _excess(view.shape()[2], window, 1))


def _excess(size: int, window: Window, axis: int) -> int:
    before, stride = window.pads[axis], window.stride[axis]
    span = size + before + window.pads[axis + 2] - window.extent[axis]
    start = -(-span // stride) * stride
    return start - span if start < size + before else 0


def image_input(view: NodeView) -> str | None:
    """The input is an activation of shape batch x channels x height x width."""
    if not view.is_activation(0):
        return "the input is a constant"
    shape = view.shape()
    return None if len(shape) == 3 else f"the input has the shape batch x {'x'.join(map(str, shape))}"


def two_dimensional(view: NodeView) -> str | None:
    """Windows are two-dimensional: kernel, strides and dilations have two entries, pads four, from 0 or 1 to 4096."""
    return _two_dimensional(view, least_pad=0)


def two_dimensional_or_cropped(view: NodeView) -> str | None:
    """Windows are two-dimensional: kernel, strides and dilations have two entries from 1 to 4096, pads four to 4096."""
    return _two_dimensional(view, least_pad=-LARGEST)


def _two_dimensional(view: NodeView, *, least_pad: int) -> str | None:
    kernel = kernel_of(view)
    if len(kernel) != 2 or min(kernel) < 1 or max(kernel) > LARGEST:
        return f"a kernel of shape {list(kernel)}"
    for name, length, least in (("strides", 2, 1), ("dilations", 2, 1), ("pads", 4, least_pad)):
        given = view.ints_of(name)
        if given is not None and (len(given) != length or min(given) < least or max(given) > LARGEST):
            return f"{name} {list(given)}"
    return None


def known_auto_pad(view: NodeView) -> str | None:
    """auto_pad is NOTSET, VALID, SAME_UPPER or SAME_LOWER."""
    mode = view.string_of("auto_pad", "NOTSET")
    return None if mode in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER") else f"auto_pad {mode}"


def window_fits(view: NodeView) -> str | None:
    """The kernel, dilated, fits into the padded input.

    Remedy: use a larger input size or a smaller kernel
    """
    window = window_of(view)
    _, height, width = view.shape()
    size = window.shape((height, width))
    if min(size) >= 1:
        return None
    return f"a window of {window.extent[0]}x{window.extent[1]} over an input of {height}x{width}, pads {window.pads}"


def gather(x: NDArray[Scalar], window: Window, fill: Any) -> NDArray[Scalar]:
    """Every window of one image, as a view where no padding is needed.

    Args:
        x: [C, H, W]. fill: the padding's value.

    Returns:
        [C, kernel_h, kernel_w, out_h, out_w].
    """
    top, left, bottom, right = window.pads
    if any(window.pads):
        x = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=fill)
    spans = np.lib.stride_tricks.sliding_window_view(x, window.extent, axis=(1, 2))
    spans = spans[:, :: window.stride[0], :: window.stride[1], :: window.dilation[0], :: window.dilation[1]]
    return spans.transpose(0, 3, 4, 1, 2)


def _pair(values: tuple[int, ...]) -> Pair:
    return (values[0], values[1])


def _same(size: int, extent: int, stride: int, *, upper: bool) -> Pair:
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)
