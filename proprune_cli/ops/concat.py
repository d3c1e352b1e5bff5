"""Concatenation of channels: import rule and int8 reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Concat, Identity, Node
from proprune_cli.ops.importing import NodeView, Operator


def along_channels(view: NodeView) -> str | None:
    """Activations of one height and width are joined along the channels (axis 1).

    Remedy: join along the channels; constants can be joined to other constants only
    """
    for index, name in enumerate(view.proto.input):
        if not view.is_activation(index):
            return f"{name!r} is a constant"
    rank = len(view.shape()) + 1
    axis = view.int_of("axis", 1)
    if (axis + rank if axis < 0 else axis) != 1:
        return f"axis {axis}"
    shapes = [view.shape(index) for index in range(len(view.proto.input))]
    return None if len({shape[1:] for shape in shapes}) == 1 else f"shapes {[list(shape) for shape in shapes]}"


def _build(view: NodeView) -> list[Node]:
    names = tuple(view.x(index) for index in range(len(view.proto.input)))
    if len(names) == 1:
        return [Identity(view.name, names[0], view.y)]
    return [Concat(view.name, names, view.y)]


CONCAT = Operator("Concat", "nothing where the producers can write side by side", _build, (along_channels,))


def concat_reference(inputs: tuple[NDArray[np.int8], ...]) -> NDArray[np.int8]:
    """Channels of all inputs [C, H, W] one after the other; they share one scale."""
    return np.concatenate(inputs, axis=0)
