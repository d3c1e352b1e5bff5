"""Activations that become a table of 256 codes: Sigmoid, LeakyRelu, Clip, HardSwish, PRelu and their like."""

from __future__ import annotations

import numpy as np

from proprune_cli.ir.graph import Activation, Affine, Identity, Node
from proprune_cli.ir.nodes import Add, Relu
from proprune_cli.ops.elementwise import activation_input
from proprune_cli.ops.functions import GATED, PLAIN
from proprune_cli.ops.importing import NodeView, Operator

TABLE = "a table of 256 codes in the output stage"


def constant_bounds(view: NodeView) -> str | None:
    """The bounds are absent, attributes or constant numbers, and the lower one is not above the upper."""
    for index in (1, 2):
        value = view.constant(index)
        if view.input_name(index) and value is None:
            return f"the bound {view.input_name(index)!r} is computed at run time"
        if value is not None and value.size != 1:
            return f"a bound of shape {list(value.shape)}"
    low, high = _bounds(view)
    return f"bounds {low:g} and {high:g}" if low > high else None


def constant_slope(view: NodeView) -> str | None:
    """The slope is a constant: one number, or one per channel."""
    slope = view.constant(1)
    if slope is None:
        return f"the slope {view.input_name(1)!r} is computed at run time"
    shape = view.shape()
    if slope.size == 1 or _slope_shape(slope.shape) in ((shape[0],) + (1,) * (len(shape) - 1),):
        return None
    return f"a slope of {list(slope.shape)} on {list(shape)}"


def _slope_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A slope broadcasts from the right; a leading batch axis of 1 says nothing."""
    return shape[1:] if len(shape) == 4 and shape[0] == 1 else shape


def _bounds(view: NodeView) -> tuple[float, float]:
    """Clip's bounds: attributes until opset 10, inputs from 11 on."""
    largest = float(np.finfo(np.float32).max)
    ends = [view.float_of("min", -largest), view.float_of("max", largest)]
    for index in (1, 2):
        value = view.constant(index)
        if value is not None:
            ends[index - 1] = float(np.asarray(value, np.float64).reshape(-1)[0])
    return max(ends[0], -largest), min(ends[1], largest)


def _function(view: NodeView) -> list[Node]:
    defaults = PLAIN.get(view.op, {})
    attributes = tuple((name, view.float_of(name, value)) for name, value in defaults.items())
    return [Activation(view.name, view.x(), view.y, view.op, attributes)]


def _clip(view: NodeView) -> list[Node]:
    low, high = _bounds(view)
    largest = float(np.finfo(np.float32).max)
    if high >= largest and low in (0.0, -largest):
        return [Relu(view.name, view.x(), view.y) if low == 0.0 else Identity(view.name, view.x(), view.y)]
    return [Activation(view.name, view.x(), view.y, "Clip", (), (low, high))]


def _p_relu(view: NodeView) -> list[Node]:
    """One slope is a table. One per channel is ``relu(x) - slope * relu(-x)``."""
    slope = view.weights(1)
    assert slope is not None
    if np.unique(slope).size == 1:
        return [Activation(view.name, view.x(), view.y, "PRelu", (), (float(slope.reshape(-1)[0]),))]
    one, zero = np.ones(slope.size, np.float32), np.zeros(slope.size, np.float32)
    parts = [f"{view.y}.{part}" for part in ("above", "negated", "below", "scaled")]
    return [
        Relu(view.name + ".above", view.x(), parts[0]),
        Affine(view.name + ".negate", view.x(), parts[1], -one, zero),
        Relu(view.name + ".below", parts[1], parts[2]),
        Affine(view.name + ".scale", parts[2], parts[3], -slope.reshape(-1), zero),
        Add(view.name, parts[0], parts[3], view.y),
    ]


def _gelu(view: NodeView) -> list[Node]:
    op = "GeluTanh" if view.string_of("approximate", "none") == "tanh" else "Gelu"
    return [Activation(view.name, view.x(), view.y, op)]


def _swish(view: NodeView) -> list[Node]:
    alpha = view.float_of("alpha", 1.0)
    if alpha == 1.0:
        return [Activation(view.name, view.x(), view.y, "Silu")]
    return [Activation(view.name, view.x(), view.y, "Swish", (("alpha", alpha),))]


FUNCTIONS: tuple[Operator, ...] = tuple(
    Operator(name, TABLE, _function, (activation_input,))
    for name in sorted([*PLAIN, *(gated for gated in GATED if gated != "Silu")])
)
GELU = Operator("Gelu", TABLE, _gelu, (activation_input,))
SWISH = Operator("Swish", TABLE, _swish, (activation_input,))
CLIP = Operator("Clip", TABLE, _clip, (activation_input, constant_bounds))
P_RELU = Operator(
    "PRelu", TABLE + "; with one slope per channel two scalings and an addition", _p_relu,
    (activation_input, constant_slope),
)  # fmt: skip
