"""Concatenation of channels, rows or columns: import rule and int8 reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Concat, Identity, Node
from proprune_cli.ir.quantized import QConcat
from proprune_cli.ops.importing import NodeView, Operator


def activations_that_fit(view: NodeView) -> str | None:
    """Activations are joined along the channels (axis 1), rows or columns, and agree in their other axes.

    Remedy: constants can be joined to other constants only, images of a batch not at all
    """
    for index, name in enumerate(view.proto.input):
        if not view.is_activation(index):
            return f"{name!r} is a constant"
    rank, axis = len(view.shape()) + 1, _axis(view)
    if not 0 < axis < rank or (axis > 1 and rank != 4):
        return f"axis {axis}"
    shapes = [view.shape(index) for index in range(len(view.proto.input))]
    others = {(len(shape), shape[: axis - 1], shape[axis:]) for shape in shapes}
    return None if len(others) == 1 else f"shapes {[list(shape) for shape in shapes]}"


def _axis(view: NodeView) -> int:
    axis = view.int_of("axis", 1)
    return axis + len(view.shape()) + 1 if axis < 0 else axis


def _build(view: NodeView) -> list[Node]:
    names = tuple(view.x(index) for index in range(len(view.proto.input)))
    if len(names) == 1:
        return [Identity(view.name, names[0], view.y)]
    return [Concat(view.name, names, view.y, _axis(view))]


CONCAT = Operator(
    "Concat",
    "of channels, nothing where the producers can write side by side; of rows or columns, copies",
    _build,
    (activations_that_fit,),
)


def concat_reference(layer: QConcat, inputs: tuple[NDArray[np.int8], ...]) -> NDArray[np.int8]:
    """Channels (rows, columns) of all inputs [C, H, W] one after the other; they share one scale."""
    return np.concatenate(inputs, axis=layer.axis - 1)
