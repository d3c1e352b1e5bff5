"""Element-wise operators that compute nothing or clamp at zero: Relu, Identity, Dropout, Cast; int8 reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from proprune_cli.ir.graph import Identity, Node
from proprune_cli.ir.nodes import Relu
from proprune_cli.ops.importing import NodeView, Operator


def activation_input(view: NodeView) -> str | None:
    """The input is an activation."""
    return None if view.is_activation(0) else "the input is a constant"


def mask_unused(view: NodeView) -> str | None:
    """The mask is not used."""
    extra = [name for name in view.proto.output[1:] if name in view.used]
    return f"the output {extra[0]!r} is used" if extra else None


def to_float(view: NodeView) -> str | None:
    """Cast gives float32, which its input is."""
    kind = view.int_of("to", TensorProto.FLOAT)
    known = TensorProto.DataType.values()
    if kind == TensorProto.FLOAT:
        return None
    return f"to {TensorProto.DataType.Name(kind).lower() if kind in known else kind}"


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


RELU = Operator("Relu", "part of the layer before it, else a pass of its own", _relu, (activation_input,))
IDENTITY = Operator("Identity", "nothing", _identity, (activation_input,))
CAST = Operator("Cast", "nothing", _identity, (activation_input, to_float))
DROPOUT = Operator("Dropout", "nothing", _identity, (activation_input, mask_unused, not_training))


def relu_reference(x: NDArray[np.int8]) -> NDArray[np.int8]:
    """``max(x, 0)`` on codes."""
    return np.maximum(x, np.int8(0))
