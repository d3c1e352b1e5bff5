"""Constant padding and cropping as a node of its own: import rule and int8 reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Conv, Identity, Node, Pad, Pads
from proprune_cli.ir.quantized import QPad
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.windows import LARGEST, image_input


def constant_value(view: NodeView) -> str | None:
    """It pads with one constant, finite number: mode is constant.

    Remedy: use padding_mode='zeros', or crop and pad the images before the network
    """
    mode = view.string_of("mode", "constant")
    if mode != "constant":
        return f"mode {mode}"
    if view.input_name(2) and view.constant(2) is None:
        return "the value is computed at run time"
    value = view.constant(2)
    if value is not None and value.size != 1:
        return f"a value of shape {list(value.shape)}"
    return None if np.isfinite(_value(view)) else f"value {_value(view):g}"


def image_pads(view: NodeView) -> str | None:
    """The pads are constants from -4096 to 4096, leave something of the image, and extend channels by zeros only."""
    full = _full(view)
    if full is None:
        return "the pads are computed at run time, or do not fit the input"
    if full[0] or full[4] or min(full[1], full[5]) < 0 or max(map(abs, full)) > LARGEST:
        return f"pads {full}"
    if (full[1] or full[5]) and _value(view):
        return f"pads {full} with the value {_value(view):g}"
    _, height, width = view.shape()
    least = (height + min(full[2], 0) + min(full[6], 0), width + min(full[3], 0) + min(full[7], 0))
    return f"pads {full} on {height}x{width}" if min(least) < 1 else None


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
    if any(more):
        # Channels of zeros: a convolution of one pixel whose other filters each copy one channel.
        channels = view.shape()[0]
        weight = np.zeros((channels + sum(more), channels, 1, 1), np.float32)
        weight[more[0] : more[0] + channels, :, 0, 0] = np.eye(channels, dtype=np.float32)
        y = view.y + ".channels" if any(pads) else view.y
        nodes.append(Conv(view.name + ".channels", x, y, weight, np.zeros(len(weight), np.float32)))
        x = y
    if any(pads):
        nodes.append(Pad(view.name, x, view.y, pads, _value(view)))
    return nodes or [Identity(view.name, x, view.y)]


PAD = Operator(
    "Pad",
    "the padding of the convolution or average pooling after it, else a larger tensor; channels by a convolution",
    _build,
    (image_input, constant_value, image_pads),
)


def pad_reference(layer: QPad, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8 codes [C, H, W] with ``value`` around them; negative pads crop."""
    top, left, bottom, right = layer.pads
    grown = [(max(a, 0), max(b, 0)) for a, b in ((top, bottom), (left, right))]
    x = x[:, max(-top, 0) : x.shape[1] - max(-bottom, 0), max(-left, 0) : x.shape[2] - max(-right, 0)]
    return np.pad(x, ((0, 0), *grown), constant_values=layer.value)
