"""Pooling over windows, the whole image (Global…) or axes of it (Reduce…); int8 reference of max pooling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import F32, Affine, AveragePool, Conv, Node, Pad, Reshape
from proprune_cli.ir.nodes import Concat, MaxPool, Mul, Select
from proprune_cli.ir.window import Window
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.windows import (
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


BORDER_STEPS, BORDER_ERROR = 1.01, 1 / 30
"""Largest error of the factors that a padded average pooling has at its borders, in steps of their codes and of itself;
a 3×3 pooling padded by 1 is just within both."""

MOST_WINDOWS = 49
"""Average poolings, each over windows with the same true pixels, that one with padding may become: 7×7 padded by 3."""


def no_indices(view: NodeView) -> str | None:
    """Only the maxima are used, not their indices."""
    second = view.proto.output[1] if len(view.proto.output) > 1 else ""
    return f"the indices {second!r} are used" if second in view.used else None


def padding_below_kernel(view: NodeView) -> str | None:
    """Every pad is smaller than the kernel, and every window holds at least one element of the input."""
    window = window_of(view)
    if any(pad >= window.kernel[i % 2] for i, pad in enumerate(window.pads)):
        return f"pads {window.pads} with a kernel of {window.kernel[0]}x{window.kernel[1]}"
    whole = all(touches(view.shape()[1 + i], window, i) for i in (0, 1))
    return None if whole else f"windows that lie in the padding alone (pads {window.pads})"


def touches(size: int, window: Window, axis: int) -> bool:
    """Whether every window along one axis reads at least one of ``size`` elements."""
    dilation = window.dilation[axis]
    start = np.arange(window.count(size, axis), dtype=np.int64) * window.stride[axis] - window.pads[axis]
    first = np.maximum(-(start // dilation), 0)
    last = np.minimum((size - 1 - start) // dilation, window.kernel[axis] - 1)
    return bool((first <= last).all())


def few_windows(view: NodeView) -> str | None:
    """Padding counts as zeros (count_include_pad=1), or at most 49 windows differ in which true pixels they hold.

    Remedy: in PyTorch, build the AvgPool2d with count_include_pad=True
    """
    if view.int_of("count_include_pad", 0) or not any(window_of(view).pads):
        return None
    if _border(view) is not None:
        return None
    parts = [_same_pixels(view, axis) for axis in (0, 1)]
    count = len(parts[0]) * len(parts[1])
    return None if 0 < count <= MOST_WINDOWS else f"pads {window_of(view).pads} with count_include_pad=0"


def whole_windows(view: NodeView) -> str | None:
    """With ceil_mode=1 and count_include_pad=1 the windows divide the padded input, so that none is partial.

    Remedy: in PyTorch, build the AvgPool2d with ceil_mode=False, or choose an input size that the stride divides
    """
    if not view.int_of("ceil_mode", 0) or not view.int_of("count_include_pad", 0):
        return None
    window = window_of(view)
    top, left, bottom, right = view.ints_of("pads") or (0, 0, 0, 0)
    declared = Window(window.kernel, window.stride, (top, left, bottom, right), window.dilation)
    over = ceil_excess(view, declared)
    return None if over == (0, 0) else f"the last windows hang over by {over[0]} rows and {over[1]} columns"


def spatial_axes(view: NodeView) -> str | None:
    """It is over constant axes: height and width, one of them, or (a mean) the channels; one alone needs keepdims=1."""
    axes = _axes(view)
    if axes is None:
        return "the axes are computed at run time"
    if axes == [1] and view.op == "ReduceMean" and view.int_of("keepdims", 1):
        return None
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
    return [
        MaxPool(view.name, view.x(), view.y, window_of(view)),
    ]


def _border(view: NodeView) -> F32 | None:
    """A kernel [1, 1, h, w] that turns an image of ones into the kernel's size over the count of true pixels.

    Along one axis, window i reads the image with the taps inside(i); the kernel's sum over those must be
    taps / |inside(i)|. None where a window lies in the padding alone, no such kernel exists, or its weights cancel one
    another so far that their int8 codes give other factors: more than ``BORDER_STEPS`` or ``BORDER_ERROR`` off.
    """
    window, sides, insides = window_of(view), [], []
    for axis in (0, 1):
        size, taps = view.shape()[1 + axis], window.kernel[axis]
        start = np.arange(window.count(size, axis)) * window.stride[axis] - window.pads[axis]
        place = start[:, None] + np.arange(taps) * window.dilation[axis]
        inside = np.unique(((place >= 0) & (place < size)).astype(np.float64), axis=0)
        if not inside.any(axis=1).all():
            return None
        wanted = taps / inside.sum(axis=1)
        side = np.linalg.lstsq(inside, wanted, rcond=None)[0]
        if np.abs(inside @ side - wanted).max() > 1e-6:
            return None
        sides.append(side)
        insides.append(inside)
    kernel = np.outer(*sides)
    step = np.abs(kernel).max() / 127
    true, coded = (insides[0] @ weights @ insides[1].T for weights in (kernel, np.rint(kernel / step) * step))
    unit = 2.0 ** np.ceil(np.log2(true.max() / 127))
    off = np.abs(np.rint(coded / unit) * unit - true)
    if (off > BORDER_STEPS * unit).any() or (off > BORDER_ERROR * true).any():
        return None
    return kernel.astype(np.float32)[None, None]


@dataclass(frozen=True)
class _Same:
    """Outputs along one axis, one after the other, whose windows hold the same true pixels.

    Attributes:
        outputs: how many. start: first true pixel of the first window. taps: true pixels of each.
    """

    outputs: int
    start: int
    taps: int


def _same_pixels(view: NodeView, axis: int) -> list[_Same]:
    """The outputs along an axis by the true pixels of their windows; none where a window is dilated or holds none."""
    window, size = window_of(view), view.shape()[1 + axis]
    if window.dilation[axis] != 1:
        return []
    found: list[tuple[int, int, int]] = []
    runs: list[_Same] = []
    for output in range(window.count(size, axis)):
        begin = output * window.stride[axis] - window.pads[axis]
        first, last = max(begin, 0), min(begin + window.kernel[axis], size)
        if last <= first:
            return []
        found.append((first - begin, last - first, first))
    for offset, taps in dict.fromkeys((offset, taps) for offset, taps, _ in found):
        starts = [first for o, n, first in found if (o, n) == (offset, taps)]
        runs.append(_Same(len(starts), starts[0], taps))
    return runs


def _average_pool(view: NodeView) -> list[Node]:
    window, x, y, name = window_of(view), view.x(), view.y, view.name
    if view.int_of("count_include_pad", 0) or not any(window.pads):
        return [AveragePool(name, x, y, window)]
    border = _border(view)
    if border is None:
        return _pooled_in_parts(view)
    # The mean with zeros, times the share of true pixels' inverse: one plane for all channels.
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    first, ones, factor, planes, mean = (f"{y}.{part}" for part in ("first", "ones", "factor", "planes", "mean"))
    return [
        AveragePool(name + ".mean", x, mean, window),
        Select(name + ".first", x, first, np.zeros(1, np.int64)),
        Affine(name + ".ones", first, ones, zero, one),
        Conv(name + ".factor", ones, factor, border, zero, window),
        Select(name + ".planes", factor, planes, np.zeros(view.shape()[0], np.int64)),
        Mul(name, mean, planes, y),
    ]


def _pooled_in_parts(view: NodeView) -> list[Node]:
    """A pooling for each run of windows with the same true pixels."""
    window, x, y, name = window_of(view), view.x(), view.y, view.name
    _, height, width = view.shape()
    down, across = (_same_pixels(view, axis) for axis in (0, 1))
    nodes: list[Node] = []
    rows: list[str] = []
    for i, vertical in enumerate(down):
        parts: list[str] = []
        for j, horizontal in enumerate(across):
            at = f"{i}.{j}"
            kernel = (vertical.taps, horizontal.taps)
            pads = (
                -vertical.start,
                -horizontal.start,
                vertical.start + (vertical.outputs - 1) * window.stride[0] + kernel[0] - height,
                horizontal.start + (horizontal.outputs - 1) * window.stride[1] + kernel[1] - width,
            )
            parts.append(f"{y}.{at}")
            nodes += [
                Pad(f"{name}.pixels.{at}", x, f"{y}.pixels.{at}", pads),
                AveragePool(f"{name}.{at}", f"{y}.pixels.{at}", parts[-1], Window(kernel, window.stride)),
            ]
        rows.append(f"{y}.{i}")
        nodes.append(Concat(f"{name}.{i}", tuple(parts), rows[-1], 3))
    return [*nodes, Concat(name, tuple(rows), y, 2)]


def _global_average_pool(view: NodeView) -> list[Node]:
    _, height, width = view.shape()
    return [AveragePool(view.name, view.x(), view.y, Window((height, width)))]


def _global_max_pool(view: NodeView) -> list[Node]:
    _, height, width = view.shape()
    return [MaxPool(view.name, view.x(), view.y, Window((height, width)))]


def _reduce(view: NodeView) -> list[Node]:
    channels, height, width = view.shape()
    axes = _axes(view) or []
    if axes == [1]:
        weight = np.full((1, channels, 1, 1), 1.0 / channels, np.float32)
        return [Conv(view.name, view.x(), view.y, weight, np.zeros(1, np.float32), Window())]
    window = Window((height if 2 in axes else 1, width if 3 in axes else 1))
    pool = MaxPool if view.op == "ReduceMax" else AveragePool
    if view.int_of("keepdims", 1):
        return [pool(view.name, view.x(), view.y, window)]
    kept = view.y + ".keepdims"
    return [
        pool(view.name, view.x(), kept, window),
        Reshape(view.name + ".squeeze", kept, view.y, (channels,)),
    ]


def plain_same(view: NodeView) -> str | None:
    """auto_pad SAME_UPPER and SAME_LOWER are without dilation: ONNX Runtime pads as if there were none.

    Remedy: give the padding in numbers
    """
    mode, dilations = view.string_of("auto_pad", "NOTSET"), view.ints_of("dilations") or (1, 1)
    return f"auto_pad {mode}, dilations {list(dilations)}" if mode.startswith("SAME") and max(dilations) > 1 else None


_WINDOWED = (image_input, two_dimensional, known_auto_pad, plain_same, window_fits)

MAX_POOL = Operator(
    "MaxPool",
    MAXIMUM,
    _max_pool,
    (*_WINDOWED, no_indices, padding_below_kernel),
)
AVERAGE_POOL = Operator("AveragePool", AVERAGE, _average_pool, (*_WINDOWED, whole_windows, few_windows))
GLOBAL_AVERAGE_POOL = Operator("GlobalAveragePool", AVERAGE, _global_average_pool, (image_input,))
GLOBAL_MAX_POOL = Operator("GlobalMaxPool", MAXIMUM, _global_max_pool, (image_input,))
REDUCE_MEAN = Operator("ReduceMean", AVERAGE, _reduce, (image_input, spatial_axes))
REDUCE_MAX = Operator("ReduceMax", MAXIMUM, _reduce, (image_input, spatial_axes))


def max_pool_reference(layer: MaxPool, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Maximum of int8 codes [C, H, W] over each window; padding never wins."""
    y: NDArray[np.int8] = gather(x, layer.window, -128).max(axis=(1, 2))
    return np.maximum(y, np.int8(0)) if layer.relu else y
