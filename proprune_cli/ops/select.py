"""Parts of a tensor: Slice, Split and Gather, of channels and of space; int8 reference of a channel selection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Identity, Node, Pad
from proprune_cli.ir.nodes import MaxPool, Select
from proprune_cli.ir.window import Window
from proprune_cli.ops.elementwise import activation_input
from proprune_cli.ops.importing import Array, NodeView, Operator

Range = tuple[int, int, int]
"""Start, stop (as for ``range``) and step along one axis."""


def known_bounds(view: NodeView) -> str | None:
    """Starts, ends, axes and steps are constants, and something is left.

    Remedy: slice with fixed numbers, so that every size is known when the model is exported
    """
    ranges = _ranges(view)
    if ranges is None:
        return "a bound is computed at run time, or the bounds do not fit the input"
    empty = [axis for axis, bounds in ranges.items() if not range(*bounds)]
    return f"nothing is left along axis {empty[0]}" if empty else None


def space_of_images(view: NodeView) -> str | None:
    """Other axes than the channels are cut in images alone: batch x channels x height x width."""
    if view.op == "Slice":
        axes = [axis for axis, bounds in (_ranges(view) or {}).items() if range(*bounds) != range(_full(view)[axis])]
    else:
        axes = [_axis(view, 0)]
    rank = len(view.shape()) + 1
    far = [axis for axis in axes if axis > 1]
    return f"axis {far[0]} of rank {rank}" if far and rank != 4 else None


def _full(view: NodeView) -> tuple[int, ...]:
    return (view.batch, *view.shape())


def images_kept(view: NodeView) -> str | None:
    """The batch is not sliced; heights and widths are sliced forwards."""
    for axis, (start, stop, step) in (_ranges(view) or {}).items():
        if axis == 0 and (start, step) != (0, 1):
            return f"axis 0 from {start} in steps of {step}"
        if axis == 0 and stop < view.batch:
            return f"axis 0 up to {stop} of {view.batch}"
        if axis > 1 and step < 0:
            return f"axis {axis} in steps of {step}"
    return None


def known_parts(view: NodeView) -> str | None:
    """The sizes of the parts are constants that fill the axis, which is not the batch."""
    axis = _axis(view, 0)
    if not 0 < axis <= len(view.shape()):
        return f"axis {axis}"
    sizes = _sizes(view)
    if sizes is None:
        return "the sizes are computed at run time"
    size = view.shape()[axis - 1]
    return None if sum(sizes) == size and min(sizes) > 0 else f"parts of {list(sizes)} along an axis of {size}"


def constant_channels(view: NodeView) -> str | None:
    """It gathers channels (axis 1) by a constant list of their numbers."""
    axis, indices = _axis(view, 0), view.constant(1)
    if indices is None:
        return "the indices are computed at run time"
    if axis != 1 or indices.ndim != 1 or not indices.size:
        return f"axis {axis}, indices of shape {list(indices.shape)}"
    channels = view.shape()[0]
    return None if _within(indices, channels) else f"indices beyond {channels} channels"


def _within(indices: Array, size: int) -> bool:
    return int(indices.min()) >= -size and int(indices.max()) < size


def _axis(view: NodeView, default: int) -> int:
    axis, rank = view.int_of("axis", default), len(view.shape()) + 1
    return axis + rank if axis < 0 else axis


def _ints(view: NodeView, index: int) -> tuple[int, ...] | None:
    value = view.constant(index)
    return None if value is None else tuple(int(i) for i in value.reshape(-1))


def _ranges(view: NodeView) -> dict[int, Range] | None:
    """What is taken along each axis that is named; attributes in opset 9, inputs from 10 on."""
    starts, ends, axes = view.ints_of("starts"), view.ints_of("ends"), view.ints_of("axes")
    steps: tuple[int, ...] | None = None
    if starts is None or ends is None:
        for index in (1, 2, 3, 4):
            if view.input_name(index) and view.constant(index) is None:
                return None
        starts, ends, axes, steps = (_ints(view, index) for index in (1, 2, 3, 4))
    if starts is None or ends is None:
        return None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    full = _full(view)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        return None
    if any(not -len(full) <= axis < len(full) for axis in axes):
        return None
    found: dict[int, Range] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis % len(full)
        # A symbolic batch is taken whole by any end that reaches past one image.
        found[axis] = (0, end, 1) if (axis, start, step) == (0, 0, 1) else slice(start, end, step).indices(full[axis])
    return found


def _sizes(view: NodeView) -> tuple[int, ...] | None:
    """Sizes of Split's parts: an attribute until opset 12, an input from 13 on, equal shares without either."""
    given = view.ints_of("split")
    if given is None and view.input_name(1):
        return _ints(view, 1)
    if given is not None:
        return given
    size, parts = view.shape()[_axis(view, 0) - 1], len(view.proto.output)
    share = -(-size // parts)
    return (*[share] * (parts - 1), size - share * (parts - 1))


def _part(name: str, x: str, y: str, shape: tuple[int, ...], axis: int, bounds: Range) -> list[Node]:
    """The part of ``x`` along one axis (1: channels, 2 and 3: space)."""
    start, _, step = bounds
    taken = range(*bounds)
    size = shape[axis - 1]
    if taken == range(size):
        return [Identity(name, x, y)]
    if axis == 1:
        return [Select(name, x, y, np.arange(*bounds, dtype=np.int64))]
    cut = [0, 0, 0, 0]
    cut[axis - 2], cut[axis] = -start, taken[-1] + 1 - size
    pads = (cut[0], cut[1], cut[2], cut[3])
    if step == 1:
        return [Pad(name, x, y, pads)]
    # Every step-th pixel is the maximum of windows of one pixel.
    window = Window((1, 1), (step, 1) if axis == 2 else (1, step))
    if not any(cut):
        return [MaxPool(name, x, y, window)]
    return [Pad(name + ".crop", x, y + ".cropped", pads), MaxPool(name, y + ".cropped", y, window)]


def _slice(view: NodeView) -> list[Node]:
    ranges = {axis: bounds for axis, bounds in sorted((_ranges(view) or {}).items()) if axis}
    if not ranges:
        return [Identity(view.name, view.x(), view.y)]
    nodes: list[Node] = []
    x, shape = view.x(), view.shape()
    for index, (axis, bounds) in enumerate(ranges.items()):
        last = index == len(ranges) - 1
        y = view.y if last else f"{view.y}.{axis}"
        nodes += _part(view.name if last else f"{view.name}.{axis}", x, y, shape, axis, bounds)
        shape = (*shape[: axis - 1], len(range(*bounds)), *shape[axis:])
        x = y
    return nodes


def _split(view: NodeView) -> list[Node]:
    axis, sizes = _axis(view, 0), _sizes(view)
    assert sizes is not None
    nodes: list[Node] = []
    start = 0
    for index, (y, size) in enumerate(zip(view.proto.output, sizes, strict=True)):
        if y in view.used:
            name = f"{view.name}.{index}"
            nodes += _part(name, view.x(), y, view.shape(), axis, (start, start + size, 1))
        start += size
    return nodes


def _gather(view: NodeView) -> list[Node]:
    indices = view.constant(1)
    assert indices is not None
    channels = view.shape()[0]
    return [Select(view.name, view.x(), view.y, indices.astype(np.int64) % channels)]


def parts_named(view: NodeView) -> str | None:
    """There is one output for every part."""
    sizes = _sizes(view) or ()
    return None if len(sizes) == len(view.proto.output) else f"{len(sizes)} parts, {len(view.proto.output)} outputs"


CHANNELS = "nothing where readers can take the channels by number; "
SLICE = Operator(
    "Slice",
    CHANNELS + "of space, a window of the tensor",
    _slice,
    (activation_input, known_bounds, images_kept, space_of_images),
)
SPLIT = Operator(
    "Split",
    CHANNELS + "of space, windows of the tensor",
    _split,
    (activation_input, known_parts, parts_named, space_of_images),
)
GATHER = Operator("Gather", CHANNELS.removesuffix("; "), _gather, (activation_input, constant_channels))


def select_reference(layer: Select, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """The chosen channels of int8 codes [C, H, W]."""
    return x[layer.channels]
