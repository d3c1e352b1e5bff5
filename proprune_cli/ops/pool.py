"""Pooling over windows, the whole image (Global…) or axes of it (Reduce…); int8 reference of max pooling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import AveragePool, MaxPool, Node, Reshape
from proprune_cli.ir.quantized import QMaxPool
from proprune_cli.ir.shapes import window_count
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.windows import (
    Window,
    ceil_excess,
    gather,
    image_input,
    known_auto_pad,
    two_dimensional,
    window_fits,
    window_of,
)

AVERAGE = "taps with constant weights"
MAXIMUM = "the same walk with max in place of multiply-accumulate"


def no_indices(view: NodeView) -> str | None:
    """Only the maxima are used, not their indices."""
    second = view.proto.output[1] if len(view.proto.output) > 1 else ""
    return f"the indices {second!r} are used" if second in view.used else None


def padding_below_kernel(view: NodeView) -> str | None:
    """Every pad is smaller than the kernel, and every window holds at least one element of the input."""
    window = window_of(view)
    if any(pad >= window.kernel[i % 2] for i, pad in enumerate(window.pads)):
        return f"pads {window.pads} with a kernel of {window.kernel[0]}x{window.kernel[1]}"
    whole = all(_touches(view.shape()[1 + i], window, i) for i in (0, 1))
    return None if whole else f"windows that lie in the padding alone (pads {window.pads})"


def _touches(size: int, window: Window, axis: int) -> bool:
    """Whether every window along one axis reads at least one of ``size`` elements."""
    before, after, dilation = window.pads[axis], window.pads[axis + 2], window.dilation[axis]
    count = window_count(size, window.kernel[axis], window.stride[axis], before, after, dilation)
    start = np.arange(count, dtype=np.int64) * window.stride[axis] - before
    first = np.maximum(-(start // dilation), 0)
    last = np.minimum((size - 1 - start) // dilation, window.kernel[axis] - 1)
    return bool((first <= last).all())


def zeros_count(view: NodeView) -> str | None:
    """Padding counts as zeros (count_include_pad=1), or there is none.

    Remedy: in PyTorch, build the AvgPool2d with count_include_pad=True
    """
    pads = window_of(view).pads
    if any(pads) and not view.int_of("count_include_pad", 0):
        return f"pads {pads} with count_include_pad=0: the divisor would change at the border"
    return None


def whole_windows(view: NodeView) -> str | None:
    """With ceil_mode=1 the windows divide the padded input exactly, so that no partial window is averaged.

    Remedy: in PyTorch, build the AvgPool2d with ceil_mode=False, or choose an input size that the stride divides
    """
    if not view.int_of("ceil_mode", 0):
        return None
    window = window_of(view)
    top, left, bottom, right = view.ints_of("pads") or (0, 0, 0, 0)
    declared = Window(window.kernel, window.stride, (top, left, bottom, right), window.dilation)
    over = ceil_excess(view, declared)
    return None if over == (0, 0) else f"the last windows hang over by {over[0]} rows and {over[1]} columns"


def spatial_axes(view: NodeView) -> str | None:
    """It is over constant axes, height and width or one of them; one alone needs keepdims=1."""
    axes = _axes(view)
    if axes is None:
        return "the axes are computed at run time"
    if not axes or not set(axes) <= {2, 3}:
        return f"axes {axes}"
    if len(axes) == 1 and not view.int_of("keepdims", 1):
        return f"axes {axes} with keepdims=0"
    return None


def _axes(view: NodeView) -> list[int] | None:
    """Sorted non-negative axes; an attribute until opset 17, an input from 18 on."""
    given = view.ints_of("axes")
    if given is None and view.input_name(1):
        value = view.constant(1)
        if value is None:
            return None
        given = tuple(int(i) for i in value.reshape(-1))
    if not given:
        return [] if view.int_of("noop_with_empty_axes", 0) else [0, 1, 2, 3]
    return sorted({axis + 4 if axis < 0 else axis for axis in given})


def _max_pool(view: NodeView) -> list[Node]:
    window = window_of(view)
    return [
        MaxPool(view.name, view.x(), view.y, window.kernel, window.stride, window.pads, window.dilation),
    ]


def _average_pool(view: NodeView) -> list[Node]:
    window = window_of(view)
    return [
        AveragePool(view.name, view.x(), view.y, window.kernel, window.stride, window.pads, window.dilation),
    ]


def _global_average_pool(view: NodeView) -> list[Node]:
    _, height, width = view.shape()
    return [AveragePool(view.name, view.x(), view.y, (height, width))]


def _global_max_pool(view: NodeView) -> list[Node]:
    _, height, width = view.shape()
    return [MaxPool(view.name, view.x(), view.y, (height, width))]


def _reduce(view: NodeView) -> list[Node]:
    channels, height, width = view.shape()
    axes = _axes(view) or []
    kernel = (height if 2 in axes else 1, width if 3 in axes else 1)
    pool = MaxPool if view.op == "ReduceMax" else AveragePool
    if view.int_of("keepdims", 1):
        return [pool(view.name, view.x(), view.y, kernel)]
    kept = view.y + ".keepdims"
    return [
        pool(view.name, view.x(), kept, kernel),
        Reshape(view.name + ".squeeze", kept, view.y, (channels,)),
    ]


_WINDOWED = (image_input, two_dimensional, known_auto_pad, window_fits)

MAX_POOL = Operator(
    "MaxPool",
    MAXIMUM,
    _max_pool,
    (*_WINDOWED, no_indices, padding_below_kernel),
)
AVERAGE_POOL = Operator("AveragePool", AVERAGE, _average_pool, (*_WINDOWED, whole_windows, zeros_count))
GLOBAL_AVERAGE_POOL = Operator("GlobalAveragePool", AVERAGE, _global_average_pool, (image_input,))
GLOBAL_MAX_POOL = Operator("GlobalMaxPool", MAXIMUM, _global_max_pool, (image_input,))
REDUCE_MEAN = Operator("ReduceMean", AVERAGE, _reduce, (image_input, spatial_axes))
REDUCE_MAX = Operator("ReduceMax", MAXIMUM, _reduce, (image_input, spatial_axes))


def max_pool_reference(layer: QMaxPool, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Maximum of int8 codes [C, H, W] over each window; padding never wins."""
    window = Window(layer.kernel, layer.stride, layer.pads, layer.dilation)
    y: NDArray[np.int8] = gather(x, window, -128).max(axis=(1, 2))
    return np.maximum(y, np.int8(0)) if layer.relu else y
