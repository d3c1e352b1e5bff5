"""Concatenation of channels, also with constant planes, of rows or columns: import rule and int8 reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import F32, Conv, Gemm, Identity, Node
from proprune_cli.ir.nodes import Concat
from proprune_cli.ir.window import Window
from proprune_cli.ops.importing import NodeView, Operator


def parts_that_fit(view: NodeView) -> str | None:
    """Activations are joined along the channels (axis 1), rows or columns, and agree in their other axes.

    Along the channels planes of one constant each may stand between them.

    Remedy: constants that change from pixel to pixel can be joined to other constants only, images of a batch not at
    all
    """
    known = _activations(view)
    if not known:
        return "none of the inputs is an activation"
    shapes = [view.shape(index) for index in known]
    rank, axis = len(shapes[0]) + 1, _axis(view)
    if not 0 < axis < rank or (axis > 1 and rank != 4):
        return f"axis {axis}"
    if len({(len(shape), shape[: axis - 1], shape[axis:]) for shape in shapes}) > 1:
        return f"shapes {[list(shape) for shape in shapes]}"
    for index, name in enumerate(view.proto.input):
        if index not in known and (axis > 1 or _planes(view, index, shapes[0][1:]) is None):
            value = view.constant(index)
            what = "is computed at run time" if value is None else f"is a constant of {list(value.shape)}"
            return f"{name!r} {what}, beside {list(shapes[0])}, along axis {axis}"
    return None


def _activations(view: NodeView) -> list[int]:
    return [index for index in range(len(view.proto.input)) if view.is_activation(index)]


def _axis(view: NodeView) -> int:
    axis = view.int_of("axis", 1)
    return axis + len(view.shape(_activations(view)[0])) + 1 if axis < 0 else axis


def _planes(view: NodeView, index: int, size: tuple[int, ...]) -> F32 | None:
    """Values of the constant planes of an input, float32 [planes]; None where they are not constant, or of a size."""
    value = view.weights(index)
    if value is None or value.ndim != len(size) + 2 or value.shape[0] != view.batch or value.shape[2:] != size:
        return None
    flat = value.swapaxes(0, 1).reshape(value.shape[1], -1)
    return flat[:, 0] if flat.size and (flat == flat[:, :1]).all() else None


def _build(view: NodeView) -> list[Node]:
    known = _activations(view)
    names = tuple(view.x(index) for index in known)
    if len(known) < len(view.proto.input):
        return _with_constants(view, known, names)
    if len(names) == 1:
        return [Identity(view.name, names[0], view.y)]
    return [Concat(view.name, names, view.y, _axis(view))]


def _with_constants(view: NodeView, known: list[int], names: tuple[str, ...]) -> list[Node]:
    """A convolution of one pixel copies the activations' channels; its other filters are a bias alone."""
    size = view.shape(known[0])[1:]
    nodes: list[Node] = []
    x = names[0]
    if len(names) > 1:
        x = view.y + ".activations"
        nodes.append(Concat(view.name + ".activations", names, x))
    rows: list[F32] = []
    bias: list[F32] = []
    channels, at = sum(view.shape(index)[0] for index in known), 0
    for index in range(len(view.proto.input)):
        planes = None if index in known else _planes(view, index, size)
        count = view.shape(index)[0] if planes is None else len(planes)
        part = np.zeros((count, channels), np.float32)
        if planes is None:
            part[:, at : at + count] = np.eye(count, dtype=np.float32)
            at += count
        rows.append(part)
        bias.append(np.zeros(count, np.float32) if planes is None else planes)
    weight, constants = np.concatenate(rows), np.concatenate(bias)
    if not size:
        return [*nodes, Gemm(view.name, x, view.y, weight, constants)]
    return [*nodes, Conv(view.name, x, view.y, weight[:, :, None, None], constants, Window())]


CONCAT = Operator(
    "Concat",
    "of channels, nothing where the producers can write side by side, and constant planes by a convolution; of rows or "
    "columns, copies",
    _build,
    (parts_that_fit,),
)


def concat_reference(layer: Concat, inputs: tuple[NDArray[np.int8], ...]) -> NDArray[np.int8]:
    """Channels (rows, columns) of all inputs [C, H, W] one after the other; they share one scale."""
    return np.concatenate(inputs, axis=layer.axis - 1)
