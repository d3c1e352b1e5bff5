"""Element-wise operators: Relu, Add, Identity, Dropout; int8 references of addition and ReLU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Add, Affine, Identity, Node, Relu
from proprune_cli.ir.quantized import EXPONENT_SPREAD, QAdd
from proprune_cli.ops.importing import Array, NodeView, Operator
from proprune_cli.ops.rounding import shift_half_even


def activation_input(view: NodeView) -> str | None:
    """The input is an activation."""
    return None if view.is_activation(0) else "the input is a constant"


def same_shape_or_per_channel(view: NodeView) -> str | None:
    """The operands are two activations of one shape, or an activation and a constant with one value per channel.

    Remedy: write the addition without broadcasting one activation over the other
    """
    known = [i for i in (0, 1) if view.is_activation(i)]
    if len(known) == 2:
        a, b = view.shape(0), view.shape(1)
        return None if a == b else f"shapes {list(a)} and {list(b)}"
    if not known:
        return "two constants"
    other = view.constant(1 - known[0])
    if other is None:
        return f"the operand {view.input_name(1 - known[0])!r} is computed at run time"
    shape = view.shape(known[0])
    return None if _per_channel(other, len(shape), shape[0]) else f"a constant of {list(other.shape)} on {list(shape)}"


def _per_channel(value: Array, rank: int, channels: int) -> bool:
    """Whether ``value`` broadcasts to one number per channel of batch x (``rank`` axes)."""
    if value.size == 1:
        return value.ndim <= rank + 1
    aligned = (1,) * (rank + 1 - value.ndim) + value.shape
    return len(aligned) == rank + 1 and aligned == (1, channels) + (1,) * (rank - 1)


def mask_unused(view: NodeView) -> str | None:
    """The mask is not used."""
    extra = [name for name in view.proto.output[1:] if name in view.used]
    return f"the output {extra[0]!r} is used" if extra else None


def not_training(view: NodeView) -> str | None:
    """Dropout is in inference mode.

    Remedy: call model.eval() before the export
    """
    if not view.input_name(2):
        return None
    mode = view.constant(2)
    if mode is None:
        return "training_mode is computed at run time"
    return "training_mode is true" if bool(mode.any()) else None


def _relu(view: NodeView) -> list[Node]:
    return [Relu(view.name, view.x(), view.y)]


def _identity(view: NodeView) -> list[Node]:
    return [Identity(view.name, view.x(), view.y)]


def _add(view: NodeView) -> list[Node]:
    if view.is_activation(0) and view.is_activation(1):
        return [Add(view.name, view.x(0), view.x(1), view.y)]
    side = 0 if view.is_activation(0) else 1
    constant = view.weights(1 - side)
    assert constant is not None
    channels = view.shape(side)[0]
    shift = np.broadcast_to(constant.reshape(-1), (channels,)).astype(np.float32)
    return [Affine(view.name, view.x(side), view.y, np.ones(channels, np.float32), shift)]


RELU = Operator("Relu", "part of the layer before it, else a pass of its own", _relu, (activation_input,))
ADD = Operator("Add", "an operand of the output stage", _add, (same_shape_or_per_channel,))
IDENTITY = Operator("Identity", "nothing", _identity, (activation_input,))
DROPOUT = Operator("Dropout", "nothing", _identity, (activation_input, mask_unused, not_training))


def add_reference(layer: QAdd, a: NDArray[np.int8], b: NDArray[np.int8], shifts: tuple[int, int]) -> NDArray[np.int8]:
    """Sum of two code arrays of one shape, in integers.

    Args:
        shifts: exponent of ``a`` and of ``b``, each minus the result's; within ``EXPONENT_SPREAD``.
    """
    left = a.astype(np.int64) << (shifts[0] + EXPONENT_SPREAD)
    right = b.astype(np.int64) << (shifts[1] + EXPONENT_SPREAD)
    y = np.clip(shift_half_even(left + right, EXPONENT_SPREAD), -128, 127).astype(np.int8)
    return np.maximum(y, np.int8(0)) if layer.relu else y


def relu_reference(x: NDArray[np.int8]) -> NDArray[np.int8]:
    """``max(x, 0)`` on codes."""
    return np.maximum(x, np.int8(0))
