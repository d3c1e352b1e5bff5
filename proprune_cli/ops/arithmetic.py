"""Arithmetic between tensors, and of tensors with constants: Add, Sub, Mul, Div, Sum, Neg; their int8 references."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import F32, Affine, Identity, Node
from proprune_cli.ir.nodes import Add, Mul, Select, Shape
from proprune_cli.ir.quantized import EXPONENT_SPREAD, PRODUCT_SPREAD
from proprune_cli.ops.elementwise import activation_input
from proprune_cli.ops.importing import Array, NodeView, Operator
from proprune_cli.ops.rounding import shift_half_even


def shapes_meet(view: NodeView) -> str | None:
    """The operands are activations of one shape (or one has one pixel or channel), or a constant per channel.

    Remedy: repeat the smaller operand before this node, or make it one value per channel
    """
    known = [i for i in (0, 1) if view.is_activation(i)]
    if not known:
        return "two constants"
    if len(known) == 2:
        a, b = view.shape(0), view.shape(1)
        return None if _meet(a, b) is not None else f"shapes {list(a)} and {list(b)}"
    other = view.constant(1 - known[0])
    if other is None:
        return f"the operand {view.input_name(1 - known[0])!r} is computed at run time"
    shape = view.shape(known[0])
    return None if per_channel(other, shape) else f"a constant of {list(other.shape)} on {list(shape)}"


def divisor_is_constant(view: NodeView) -> str | None:
    """The divisor is a constant without zeros, one number or one per channel."""
    if not view.is_activation(0):
        return "the dividend is a constant"
    divisor = view.constant(1)
    if divisor is None:
        return f"the divisor {view.input_name(1)!r} is computed at run time"
    if not per_channel(divisor, view.shape()):
        return f"a constant of {list(divisor.shape)} on {list(view.shape())}"
    return "a divisor of 0" if (np.asarray(divisor, np.float32) == 0).any() else None


def summands_of_one_shape(view: NodeView) -> str | None:
    """All summands are activations of one shape."""
    for index, name in enumerate(view.proto.input):
        if not view.is_activation(index):
            return f"{name!r} is a constant"
        if view.shape(index) != view.shape(0):
            return f"shapes {list(view.shape(0))} and {list(view.shape(index))}"
    return None


def per_channel(value: Array, shape: Shape) -> bool:
    """Whether ``value`` broadcasts to one number per channel of batch x ``shape``."""
    rank = len(shape)
    if value.size == 1:
        return value.ndim <= rank + 1
    aligned = (1,) * (rank + 1 - value.ndim) + value.shape
    return len(aligned) == rank + 1 and aligned == (1, shape[0]) + (1,) * (rank - 1)


def _meet(a: Shape, b: Shape) -> Shape | None:
    """The shape of the result, or None: one operand must have every pixel, either may have one channel or one pixel."""
    if a == b:
        return a
    if len(a) != 3 or len(b) != 3:
        return None
    channels, size = max(a[0], b[0]), max(a[1:], b[1:])
    fits = all(shape[0] in (1, channels) and shape[1:] in ((1, 1), size) for shape in (a, b))
    return (channels, *size) if fits else None


def _operands(view: NodeView) -> tuple[list[Node], str, str, bool]:
    """Two activations brought to one channel count, the one of all pixels first; whether they changed places."""
    shape = _meet(view.shape(0), view.shape(1))
    assert shape is not None
    nodes: list[Node] = []
    names: list[str] = []
    for index in (0, 1):
        name = view.x(index)
        if view.shape(index)[0] != shape[0]:
            repeated = f"{view.y}.operand{index}"
            zeros = np.zeros(shape[0], np.int64)
            nodes.append(Select(f"{view.name}.operand{index}", name, repeated, zeros))
            name = repeated
        names.append(name)
    swapped = view.shape(0)[1:] != shape[1:]
    return nodes, names[swapped], names[not swapped], swapped


def _constant(view: NodeView) -> tuple[int, F32]:
    """Which operand is the activation, and the other as float32 [channels]."""
    side = 0 if view.is_activation(0) else 1
    value = view.weights(1 - side)
    assert value is not None
    return side, np.broadcast_to(value.reshape(-1), (view.shape(side)[0],)).astype(np.float32)


def _affine(view: NodeView, side: int, scale: F32 | float, shift: F32 | float) -> list[Node]:
    channels = (view.shape(side)[0],)
    ends = [np.broadcast_to(np.asarray(v, np.float32), channels).astype(np.float32) for v in (scale, shift)]
    return [Affine(view.name, view.x(side), view.y, ends[0], ends[1])]


def _add(view: NodeView) -> list[Node]:
    if view.is_activation(0) and view.is_activation(1):
        nodes, a, b, _ = _operands(view)
        return [*nodes, Add(view.name, a, b, view.y)]
    side, value = _constant(view)
    return _affine(view, side, 1.0, value)


def _sub(view: NodeView) -> list[Node]:
    if not (view.is_activation(0) and view.is_activation(1)):
        side, value = _constant(view)
        return _affine(view, side, 1.0, -value) if side == 0 else _affine(view, side, -1.0, value)
    nodes, a, b, swapped = _operands(view)
    if not swapped:
        return [*nodes, Add(view.name, a, b, view.y, subtract=True)]
    # The one pixel is the minuend: the other is negated and the pixel added to it.
    shape = _meet(view.shape(0), view.shape(1))
    assert shape is not None
    one, negated = np.ones(shape[0], np.float32), view.y + ".negated"
    nodes.append(Affine(view.name + ".negate", a, negated, -one, np.zeros_like(one)))
    return [*nodes, Add(view.name, negated, b, view.y)]


def _mul(view: NodeView) -> list[Node]:
    if view.is_activation(0) and view.is_activation(1):
        nodes, a, b, _ = _operands(view)
        return [*nodes, Mul(view.name, a, b, view.y)]
    side, value = _constant(view)
    return _affine(view, side, value, 0.0)


def _div(view: NodeView) -> list[Node]:
    _, value = _constant(view)
    return _affine(view, 0, (1.0 / value.astype(np.float64)).astype(np.float32), 0.0)


def _neg(view: NodeView) -> list[Node]:
    return _affine(view, 0, -1.0, 0.0)


def _sum(view: NodeView) -> list[Node]:
    names = [view.x(index) for index in range(len(view.proto.input))]
    if len(names) == 1:
        return [Identity(view.name, names[0], view.y)]
    nodes: list[Node] = []
    total = names[0]
    for index, name in enumerate(names[1:], start=1):
        last = index == len(names) - 1
        y = view.y if last else f"{view.y}.{index}"
        nodes.append(Add(view.name if last else f"{view.name}.{index}", total, name, y))
        total = y
    return nodes


CONSTANT = "with a constant, folded into the convolution before it, else taps of one weight per channel"
ADD = Operator("Add", f"an operand of the output stage; {CONSTANT}", _add, (shapes_meet,))
SUB = Operator("Sub", f"an operand of the output stage; {CONSTANT}", _sub, (shapes_meet,))
MUL = Operator("Mul", f"an operand of the output stage; {CONSTANT}", _mul, (shapes_meet,))
DIV = Operator("Div", CONSTANT, _div, (divisor_is_constant,))
NEG = Operator("Neg", CONSTANT.removeprefix("with a constant, "), _neg, (activation_input,))
SUM = Operator("Sum", "additions one after the other", _sum, (summands_of_one_shape,))


def add_reference(layer: Add, a: NDArray[np.int8], b: NDArray[np.int8], shifts: tuple[int, int]) -> NDArray[np.int8]:
    """Sum or difference of two code arrays, in integers; ``b`` may be of 1×1 pixels.

    Args:
        shifts: exponent of ``a`` and of ``b``, each minus the result's; within ``EXPONENT_SPREAD``.
    """
    left = a.astype(np.int64) << (shifts[0] + EXPONENT_SPREAD)
    right = b.astype(np.int64) << (shifts[1] + EXPONENT_SPREAD)
    total = left - right if layer.subtract else left + right
    y = np.clip(shift_half_even(total, EXPONENT_SPREAD), -128, 127).astype(np.int8)
    return np.maximum(y, np.int8(0)) if layer.relu else y


def mul_reference(layer: Mul, a: NDArray[np.int8], b: NDArray[np.int8], shift: int) -> NDArray[np.int8]:
    """Product of two code arrays, in integers; ``b`` may be of 1×1 pixels.

    Args:
        shift: exponents of ``a`` and ``b`` together, minus the result's; within ``PRODUCT_SPREAD``.
    """
    product = (a.astype(np.int64) * b.astype(np.int64)) << (shift + PRODUCT_SPREAD)
    y = np.clip(shift_half_even(product, PRODUCT_SPREAD), -128, 127).astype(np.int8)
    return np.maximum(y, np.int8(0)) if layer.relu else y
