"""Operators that only rename or reorder the axes: Flatten, Reshape, Squeeze, Unsqueeze, Transpose."""

from __future__ import annotations

from math import prod

from proprune_cli.ir.graph import Node, Reshape, Transpose
from proprune_cli.ir.nodes import Shape
from proprune_cli.ops.elementwise import activation_input
from proprune_cli.ops.importing import NodeView, Operator

NOTHING = "nothing: the fully connected layer after it reads the image as it lies"


def batch_stays_first(view: NodeView) -> str | None:
    """Flatten keeps the batch apart: axis is 1."""
    axis = view.int_of("axis", 1)
    rank = len(view.shape()) + 1
    return None if (axis + rank if axis < 0 else axis) == 1 else f"axis {axis}"


def constant_shape(view: NodeView) -> str | None:
    """The target shape is known: a constant, or computed from shapes that are known."""
    return None if view.constant(1) is not None else f"the shape {view.input_name(1)!r} is computed at run time"


def keeps_images_apart(view: NodeView) -> str | None:
    """The target keeps the images of a batch apart; what reads it is an operator that can read it.

    Remedy: keep the batch as the first axis of its own
    """
    given = [] if (value := view.constant(1)) is None else [int(i) for i in value.reshape(-1)]
    return None if _target(view) is not None else f"{list(view.shape())} per image to {given}"


def spatial_axes_of_one(view: NodeView) -> str | None:
    """Squeeze removes height and width, both of size 1."""
    axes = _axes(view)
    rank = len(view.shape()) + 1
    found = sorted({axis + rank if axis < 0 else axis for axis in axes or ()})
    return None if found == [2, 3] and view.shape()[1:] == (1, 1) else f"axes {found} of {list(view.shape())} per image"


def axes_after_channels(view: NodeView) -> str | None:
    """Unsqueeze adds axes of size 1 after the channels."""
    axes, rank = _axes(view), len(view.shape()) + 1
    if axes is None:
        return "the axes are computed at run time"
    found = sorted(axis + rank + len(axes) if axis < 0 else axis for axis in axes)
    return None if found and found[0] > 1 and rank + len(found) <= 5 else f"axes {found} of rank {rank}"


def batch_not_moved(view: NodeView) -> str | None:
    """Transpose leaves the batch first, and is part of a channel shuffle, or undone before the next computation.

    Remedy: export the model in the layout batch x channels x height x width
    """
    perm = _perm(view)
    return None if perm[0] == 0 and sorted(perm) == list(range(len(view.shape()) + 1)) else f"perm {list(perm)}"


def _perm(view: NodeView) -> tuple[int, ...]:
    return view.ints_of("perm") or tuple(range(len(view.shape()), -1, -1))


def _axes(view: NodeView) -> tuple[int, ...] | None:
    """Axes of Squeeze and Unsqueeze: an attribute until opset 12, an input from 13 on."""
    value = view.constant(1)
    return view.ints_of("axes") if value is None else tuple(int(i) for i in value.reshape(-1))


def _target(view: NodeView) -> Shape | None:
    """The target without its batch axis, or None when images would be mixed or the sizes do not fit."""
    value = view.constant(1)
    assert value is not None
    source = (view.batch, *view.shape())
    dims = [int(i) for i in value.reshape(-1)]
    if not view.int_of("allowzero", 0):
        dims = [source[i] if n == 0 and i < len(source) else n for i, n in enumerate(dims)]
    if len(dims) < 2 or dims[0] not in (view.batch, 1, -1) or dims.count(-1) > 1:
        return None
    rest = dims[1:]
    per_image = prod(view.shape())
    if -1 in rest:
        known = -prod(rest)
        if known < 1 or per_image % known:
            return None
        rest[rest.index(-1)] = per_image // known
    return tuple(rest) if min(rest) > 0 and prod(rest) == per_image else None


def _flatten(view: NodeView) -> list[Node]:
    return [Reshape(view.name, view.x(), view.y, (prod(view.shape()),))]


def _reshape(view: NodeView) -> list[Node]:
    target = _target(view)
    assert target is not None
    return [Reshape(view.name, view.x(), view.y, target)]


def _squeeze(view: NodeView) -> list[Node]:
    return [Reshape(view.name, view.x(), view.y, (view.shape()[0],))]


def _unsqueeze(view: NodeView) -> list[Node]:
    shape, axes = list(view.shape()), _axes(view) or ()
    rank = len(shape) + 1 + len(axes)
    for axis in sorted(axis + rank if axis < 0 else axis for axis in axes):
        shape.insert(axis - 1, 1)
    return [Reshape(view.name, view.x(), view.y, tuple(shape))]


def _transpose(view: NodeView) -> list[Node]:
    return [Transpose(view.name, view.x(), view.y, tuple(axis - 1 for axis in _perm(view)[1:]))]


FLATTEN = Operator("Flatten", NOTHING, _flatten, (activation_input, batch_stays_first))
RESHAPE = Operator("Reshape", NOTHING, _reshape, (activation_input, constant_shape, keeps_images_apart))
SQUEEZE = Operator("Squeeze", NOTHING, _squeeze, (activation_input, spatial_axes_of_one))
UNSQUEEZE = Operator("Unsqueeze", NOTHING, _unsqueeze, (activation_input, axes_after_channels))
TRANSPOSE = Operator("Transpose", "channels by number", _transpose, (activation_input, batch_not_moved))
