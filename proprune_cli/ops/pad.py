"""Zero padding as a node of its own, which older exporters write before average pooling."""

from __future__ import annotations

import numpy as np

from proprune_cli.ir.graph import Identity, Node, Pad, Pads
from proprune_cli.ops.importing import NodeView, Operator
from proprune_cli.ops.windows import image_input


def constant_zeros(view: NodeView) -> str | None:
    """It pads with zeros: mode is constant and the value 0.

    Remedy: use padding_mode='zeros', or crop and pad the images before the network
    """
    mode = view.string_of("mode", "constant")
    if mode != "constant":
        return f"mode {mode}"
    if view.input_name(2) and view.constant(2) is None:
        return "the value is computed at run time"
    value = view.constant(2)
    fill = view.float_of("value", 0.0) if value is None else float(np.asarray(value).reshape(-1)[0])
    return None if fill == 0.0 else f"value {fill:g}"


def spatial_pads(view: NodeView) -> str | None:
    """The pads are constants, on height and width alone, none negative."""
    full = _full(view)
    if full is None:
        return "the pads are computed at run time, or do not fit the input"
    inside = [full[i] for i in (0, 1, 4, 5)]
    return f"pads {full}" if any(inside) or min(full) < 0 else None


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
    return [Pad(view.name, view.x(), view.y, pads) if any(pads) else Identity(view.name, view.x(), view.y)]


PAD = Operator(
    "Pad",
    "the padding of the convolution or average pooling after it",
    _build,
    (image_input, constant_zeros, spatial_pads),
)
