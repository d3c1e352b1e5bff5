"""Padding and cropping as a node of its own: import rule and int8 reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Conv, Identity, Node, Pad, PadMode
from proprune_cli.ir.nodes import Concat, Select
from proprune_cli.ir.quantized import QPad
from proprune_cli.ir.window import Pads, Pair, Window, signs
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.windows import LARGEST, image_input

MODES: dict[str, PadMode] = {"constant": "constant", "edge": "edge", "reflect": "reflect"}

FEW = 25
"""Rectangles that one padding by pixels of the image may be copied in: the image itself, and each row and column."""


def known_mode(view: NodeView) -> str | None:
    """The mode is constant with one number, edge, reflect or wrap.

    Remedy: use padding_mode='zeros', or crop and pad the images before the network
    """
    mode = view.string_of("mode", "constant")
    if mode in ("edge", "reflect", "wrap"):
        return None
    if mode != "constant":
        return f"mode {mode}"
    if view.input_name(2) and view.constant(2) is None:
        return "the value is computed at run time"
    value = view.constant(2)
    if value is not None and value.size != 1:
        return f"a value of shape {list(value.shape)}"
    return f"value {_value(view):g}" if np.isnan(_value(view)) else None


def image_pads(view: NodeView) -> str | None:
    """The pads are constants from -4096 to 4096, leave something of the image, and extend channels by zeros only.

    What is negative is cut off first; reflect and wrap take no more than the image then has.
    """
    full = _full(view)
    if full is None:
        return "the pads are computed at run time, or do not fit the input"
    if full[0] or full[4] or max(map(abs, full)) > LARGEST:
        return f"pads {full}"
    if max(full[1], full[5]) > 0 and _value(view):
        return f"pads {full} with the value {_value(view):g}"
    channels, height, width = view.shape()
    if channels + min(full[1], 0) + min(full[5], 0) < 1:
        return f"pads {full} on {channels} channels"
    if _mode(view) != "constant" and _moving_pads(view, full):
        return _moving_pads(view, full)
    least = (height + min(full[2], 0) + min(full[6], 0), width + min(full[3], 0) + min(full[7], 0))
    return f"pads {full} on {height}x{width}" if min(least) < 1 else None


def _moving_pads(view: NodeView, full: list[int]) -> str | None:
    most = {"edge": LARGEST, "reflect": -1, "wrap": 0}[_mode(view)]
    cropped = [size + min(full[i + 2], 0) + min(full[i + 6], 0) for i, size in enumerate(view.shape()[1:])]
    limits = [size + most for size in cropped] * 2
    fits = max(full[1], full[5]) <= 0 and all(
        pad <= limit for pad, limit in zip((*full[2:4], *full[6:8]), limits, strict=True)
    )
    return None if fits else f"mode {_mode(view)}, pads {full} on {'x'.join(map(str, view.shape()[1:]))}"


def _mode(view: NodeView) -> str:
    return view.string_of("mode", "constant")


def _value(view: NodeView) -> float:
    value = view.constant(2)
    return view.float_of("value", 0.0) if value is None else float(np.asarray(value).reshape(-1)[0])


def _full(view: NodeView) -> list[int] | None:
    """Eight pads, begin and end of four axes; an attribute until opset 10, inputs from 11 on, with axes from 18."""
    given = view.ints_of("pads")
    if given is None:
        value = view.constant(1)
        if value is None or (view.input_name(3) and view.constant(3) is None):
            return None
        given = tuple(int(i) for i in value.reshape(-1))
    axes = view.constant(3)
    chosen = [0, 1, 2, 3] if axes is None else [int(i) % 4 for i in axes.reshape(-1)]
    if len(given) != 2 * len(chosen):
        return None
    full = [0] * 8
    for i, axis in enumerate(chosen):
        full[axis], full[axis + 4] = given[i], given[i + len(chosen)]
    return full


def _build(view: NodeView) -> list[Node]:
    full = _full(view)
    assert full is not None
    pads: Pads = (full[2], full[3], full[6], full[7])
    nodes: list[Node] = []
    x, more = view.x(), (full[1], full[5])
    shape = view.shape()
    if any(more) and max(more) <= 0:
        kept = np.arange(-more[0], shape[0] + more[1], dtype=np.int64)
        y = view.y + ".channels" if any(pads) else view.y
        nodes.append(Select(view.name + ".channels", x, y, kept))
        x = y
    elif any(more):
        # Channels of zeros: a convolution of one pixel whose other filters each copy one channel.
        channels = shape[0]
        weight = np.eye(channels + sum(more), channels, -more[0], dtype=np.float32)[:, :, None, None]
        y = view.y + ".channels" if any(pads) else view.y
        nodes.append(Conv(view.name + ".channels", x, y, weight, np.zeros(len(weight), np.float32), Window()))
        x = y
    if any(pads) and _mode(view) != "constant":
        crop, grow = signs(pads)
        if any(crop):
            y = view.y + ".cropped" if any(grow) else view.y
            nodes.append(Pad(view.name + ".crop" if any(grow) else view.name, x, y, crop))
            x = y
        size = (shape[1] + crop[0] + crop[2], shape[2] + crop[1] + crop[3])
        if any(grow) and _mode(view) == "wrap":
            nodes += _wrapped(view, x, size, grow)
        elif any(grow):
            nodes += moved_pad(view.name, x, view.y, grow, MODES[_mode(view)])
        return nodes
    if any(pads):
        largest = float(np.finfo(np.float32).max)
        nodes.append(Pad(view.name, x, view.y, pads, min(max(_value(view), -largest), largest)))
    return nodes or [Identity(view.name, x, view.y)]


def moved_pad(name: str, x: str, y: str, pads: Pads, mode: PadMode) -> list[Node]:
    """Padding by pixels of the image; where that would copy many rectangles, rows before columns."""
    rows, columns = 1 + pads[0] + pads[2], 1 + pads[1] + pads[3]
    if rows * columns <= FEW or rows == 1 or columns == 1:
        return [Pad(name, x, y, pads, mode=mode)]
    return [
        Pad(name + ".rows", x, y + ".rows", (pads[0], 0, pads[2], 0), mode=mode),
        Pad(name, y + ".rows", y, (0, pads[1], 0, pads[3]), mode=mode),
    ]


def _wrapped(view: NodeView, x: str, image: Pair, pads: Pads) -> list[Node]:
    """The last rows, the image and the first rows one after the other, then the same with columns."""
    nodes: list[Node] = []
    sides = [(axis, pads[axis - 2], pads[axis]) for axis in (2, 3) if pads[axis - 2] or pads[axis]]
    for axis, before, after in sides:
        size, last = image[axis - 2], axis == sides[-1][0]
        y, name = (view.y, view.name) if last else (f"{view.y}.{axis}", f"{view.name}.{axis}")
        parts: list[str] = []
        for suffix, first, count in (("before", size - before, before), ("", 0, size), ("after", 0, after)):
            if count == size:
                parts.append(x)
            elif count:
                cut = [0, 0, 0, 0]
                cut[axis - 2], cut[axis] = -first, first + count - size
                parts.append(f"{y}.{suffix}")
                nodes.append(Pad(f"{name}.{suffix}", x, parts[-1], (cut[0], cut[1], cut[2], cut[3])))
        nodes.append(Concat(name, tuple(parts), y, axis))
        x = y
    return nodes


PAD = Operator(
    "Pad",
    "the padding of the convolution or average pooling after it, else a larger tensor; channels by a convolution",
    _build,
    (image_input, known_mode, image_pads),
)


def pad_reference(layer: QPad, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8 codes [C, H, W] with ``value``, the border's pixels or a mirror image around them; negative pads crop."""
    top, left, bottom, right = layer.pads
    if layer.mode != "constant":
        return np.pad(x, ((0, 0), (top, bottom), (left, right)), mode=layer.mode)
    grown = [(max(a, 0), max(b, 0)) for a, b in ((top, bottom), (left, right))]
    x = x[:, max(-top, 0) : x.shape[1] - max(-bottom, 0), max(-left, 0) : x.shape[2] - max(-right, 0)]
    return np.pad(x, ((0, 0), *grown), constant_values=layer.value)
