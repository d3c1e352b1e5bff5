"""Linear resizing as the fixed convolution it is: one transposed depthwise convolution, or a mean of two pixels.

Growing by a whole factor s puts output o at place u = (o - c) / s of the input, c = (s - 1) / 2 in the half-pixel modes
and 0 in the others, and takes the two pixels next to it by their nearness: y[o] = sum over i of
max(0, 1 - |u - i|) x[i]. Places outside the image are moved to its border (ONNX operator ``Resize``, mode linear),
which is the same as repeating the border's pixels. So padding by ``edge`` and then a transposed convolution with stride
s and the weights 1 - |o - s i - c| / s is the same function of real numbers.

In int8 that pair *is* the definition: the model in QDQ form holds a Pad and a ConvTranspose where the user's had a
Resize, and there the executors agree byte for byte. The weights are whole multiples of 1 / (4 sy sx), which the
quantiser keeps as such, so that against the float Resize only the rounding of the result is lost (half a code). Where
both axes at once would need many passes, rows and columns grow in turn, all in one scale, and lose up to one code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import AveragePool, ConvTranspose, Identity, Node, Pad
from proprune_cli.ir.nodes import MaxPool
from proprune_cli.ir.window import Window
from proprune_cli.ops.pad import moved_pad
from proprune_cli.ops.windows import factors

F64 = NDArray[np.float64]

PASSES = 16
"""Phases that one transposed convolution may have; with more, rows and columns grow one after the other."""

LARGEST_FACTOR = 32
"""Growing by more is not the engine's work: it would take as many passes."""

LARGEST_WEIGHT = 127
"""Weights are whole multiples of the least one, up to this."""

HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")


@dataclass(frozen=True)
class Line:
    """Linear resizing along one axis by a whole factor, or to every ``factor``-th place.

    Attributes:
        kind: "grow", also by 1, or "shrink".
        kernel: weights over the input, [1] or [1/2, 1/2] (shrink), of the transposed convolution (grow).
        before, after: pixels by which the border is repeated (grow), or, negative, that are cut off (shrink).
        begin, end: what is cut off the transposed convolution's result.
    """

    kind: Literal["grow", "shrink"]
    factor: int
    kernel: tuple[float, ...]
    before: int
    after: int
    begin: int = 0
    end: int = 0


SAME = Line("grow", 1, (1.0,), 0, 0)


def line(size: int, length: int, scale: float, mode: str) -> Line | None:
    """Resizing ``size`` pixels to ``length``, or None where it is no fixed convolution.

    Args:
        mode: ``coordinate_transformation_mode``.
    """
    places = _places(size, length, scale, mode)
    if places is None:
        return None
    whole = np.arange(length)
    half = mode in HALF_PIXEL
    tried = (length // size, (length - 1) // max(size - 1, 1)) if length >= size else ()
    for factor in tried:
        if factor > LARGEST_FACTOR or factors(factor) is None:
            return None
        center = (factor - 1) / 2 if half else 0.0
        if np.allclose(places, np.clip((whole - center) / factor, 0, size - 1), 0.0, 1e-6):
            return _grown(size, length, factor, center)
    factor = round((places[-1] - places[0]) / max(length - 1, 1)) if length > 1 else size
    for start in (0.0, (factor - 1) / 2):
        if start + (length - 1) * factor <= size - 1 and np.allclose(places, whole * factor + start, 0.0, 1e-6):
            kernel = (0.5, 0.5) if start % 1 else (1.0,)
            first, last = floor(start), floor(start) + (length - 1) * factor + len(kernel)
            return Line("shrink", factor, kernel, -first, last - size)
    return None


def _places(size: int, length: int, scale: float, mode: str) -> F64 | None:
    """Where in the input each output pixel lies, moved to the border where outside; None for an unknown mode."""
    at = np.arange(length, dtype=np.float64)
    if mode == "pytorch_half_pixel" and length == 1:
        places = np.zeros(1)
    elif mode in HALF_PIXEL:
        places = (at + 0.5) / scale - 0.5
    elif mode == "asymmetric":
        places = at / scale
    elif mode == "align_corners":
        places = at * ((size - 1) / max(length - 1, 1))
    else:
        return None
    return np.clip(places, 0, size - 1)


def _grown(size: int, length: int, factor: int, center: float) -> Line:
    first, last = floor(center - factor) + 1, ceil(center + factor) - 1
    kernel = tuple(1.0 - abs(m - center) / factor for m in range(first, last + 1))
    before = int(center > 0)
    after = max(ceil((length - 1 - center) / factor) - (size - 1), 0)
    begin = factor * before - first
    end = (size + before + after - 1) * factor + len(kernel) - begin - length
    return Line("grow", factor, kernel, before, after, begin, end)


def resized(name: str, x: str, y: str, channels: int, rows: Line, columns: Line) -> list[Node]:
    """The nodes that resize ``x``; an axis that keeps its size goes with either kind, the two kinds do not mix."""
    if "shrink" in (rows.kind, columns.kind):
        return _shrink(name, x, y, rows, columns)
    if _at_once(rows, columns):
        return _grow(name, x, y, channels, rows, columns)
    middle = y + ".rows"
    nodes = _grow(name + ".rows", x, middle, channels, rows, SAME)
    nodes += _grow(name, middle, y, channels, SAME, columns)
    return [replace(node, keeps_scale=True) if isinstance(node, ConvTranspose) else node for node in nodes]


def _at_once(rows: Line, columns: Line) -> bool:
    weights = [weight for weight in np.outer(rows.kernel, columns.kernel).reshape(-1) if weight > 1e-9]
    few = rows.factor * columns.factor <= PASSES and max(weights) <= LARGEST_WEIGHT * min(weights)
    return bool(few) or 1 in (rows.factor, columns.factor)


def _grow(name: str, x: str, y: str, channels: int, rows: Line, columns: Line) -> list[Node]:
    nodes: list[Node] = []
    pads = (rows.before, columns.before, rows.after, columns.after)
    if any(pads):
        nodes += moved_pad(name + ".border", x, y + ".border", pads, "edge")
        x = y + ".border"
    if rows.factor == columns.factor == 1:
        return [*nodes, Identity(name, x, y)]
    kernel = np.outer(rows.kernel, columns.kernel).astype(np.float32)
    weight = np.broadcast_to(kernel, (channels, 1, *kernel.shape)).copy()
    bias = np.zeros(channels, np.float32)
    cut = (rows.begin, columns.begin, rows.end, columns.end)
    window = Window.over(kernel.shape, (rows.factor, columns.factor), cut)
    return [*nodes, ConvTranspose(name, x, y, weight, bias, window, groups=channels)]


def _shrink(name: str, x: str, y: str, rows: Line, columns: Line) -> list[Node]:
    nodes: list[Node] = []
    cut = (rows.before, columns.before, rows.after, columns.after)
    if any(cut):
        nodes.append(Pad(name + ".crop", x, y + ".cropped", cut))
        x = y + ".cropped"
    kernel, stride = (len(rows.kernel), len(columns.kernel)), (rows.factor, columns.factor)
    pool = MaxPool if kernel == (1, 1) else AveragePool
    return [*nodes, pool(name, x, y, Window(kernel, stride))]
