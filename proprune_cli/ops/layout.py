"""Operators that only rename the axes: Flatten, Reshape, Squeeze."""

from __future__ import annotations

from math import prod

from proprune_cli.ir.graph import Node, Reshape, Shape
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
    """The target is batch x all features, or the same image shape up to axes of size 1.

    Remedy: only flattening before a fully connected layer is supported
    """
    target = _target(view)
    given = [] if (value := view.constant(1)) is None else [int(i) for i in value.reshape(-1)]
    if target is None:
        return f"{list(view.shape())} per image to {given}"
    same = _squeezed(target) == _squeezed(view.shape())
    return None if len(target) == 1 or (len(target) == 3 and same) else f"{list(view.shape())} per image to {given}"


def spatial_axes_of_one(view: NodeView) -> str | None:
    """Squeeze removes height and width, both of size 1."""
    axes = view.ints_of("axes")
    value = view.constant(1)
    if axes is None and value is not None:
        axes = tuple(int(i) for i in value.reshape(-1))
    rank = len(view.shape()) + 1
    found = sorted({axis + rank if axis < 0 else axis for axis in axes or ()})
    return None if found == [2, 3] and view.shape()[1:] == (1, 1) else f"axes {found} of {list(view.shape())} per image"


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


def _squeezed(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)


def _flatten(view: NodeView) -> list[Node]:
    return [Reshape(view.name, view.x(), view.y, (prod(view.shape()),))]


def _reshape(view: NodeView) -> list[Node]:
    target = _target(view)
    assert target is not None
    return [Reshape(view.name, view.x(), view.y, target)]


def _squeeze(view: NodeView) -> list[Node]:
    return [Reshape(view.name, view.x(), view.y, (view.shape()[0],))]


FLATTEN = Operator("Flatten", NOTHING, _flatten, (activation_input, batch_stays_first))
RESHAPE = Operator("Reshape", NOTHING, _reshape, (activation_input, constant_shape, keeps_images_apart))
SQUEEZE = Operator("Squeeze", NOTHING, _squeeze, (activation_input, spatial_axes_of_one))
