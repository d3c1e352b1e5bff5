"""Evaluating ONNX nodes whose inputs are constants: the chains around shapes that exporters leave behind."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import helper

from proprune_cli.files.limits import TENSOR_ELEMENTS
from proprune_cli.ops.evaluate import can_evaluate, evaluate
from proprune_cli.ops.importing import Array, NodeView


def fold(view: NodeView) -> dict[str, Array] | None:
    """The results of a node that depends on constants alone, or on the shape of an activation; None for any other.

    Raises:
        UnsupportedError: its inputs do not fit together, or the result would be too large.
    """
    if view.op in _FIRST:
        value = _FIRST[view.op](view)
    elif view.op in _FOLDS:
        value = _by_rule(view, _FOLDS[view.op])
    else:
        return evaluate(view) if can_evaluate(view) else None
    return None if value is None else {view.y: np.asarray(value)}


def _by_rule(view: NodeView, rule: Callable[[NodeView, list[Array]], Array]) -> Array | None:
    values: list[Array | None] = []
    for index, name in enumerate(view.proto.input):
        value = view.constant(index)
        if value is None and name:
            return None
        values.append(value)
    if not values or values[0] is None:
        return None
    try:
        given = [np.asarray(0) if v is None else v for v in values]
        # What an element by element rule makes is as large as its inputs stretched over one another.
        if len(given) > 1 and view.op in _ELEMENTWISE:
            _limit(np.broadcast_shapes(*(v.shape for v in given)))
        elif view.op == "Concat":
            _limit((sum(v.size for v in given),))
        elif view.op == "Gather":
            _limit((given[0].size // max(given[0].shape[view.int_of("axis", 0)], 1) * given[1].size,))
        return rule(view, given)
    except (ValueError, IndexError, TypeError, KeyError, ArithmeticError, MemoryError) as error:
        raise view.refusal(f"its constant inputs do not fit together ({error})") from error


def _constant(view: NodeView) -> Array | None:
    tensor = view.tensor_of("value")
    if tensor is not None:
        return tensor
    for name, dtype in (("value_int", np.int64), ("value_ints", np.int64)):
        found = view.attribute(name)
        if found is not None:
            return np.asarray(found.i if name == "value_int" else list(found.ints), dtype=dtype)
    for name in ("value_float", "value_floats"):
        found = view.attribute(name)
        if found is not None:
            return np.asarray(found.f if name == "value_float" else list(found.floats), dtype=np.float32)
    return None


def _dims(view: NodeView) -> tuple[int, ...] | None:
    """Shape of the first input, with the batch; None where it is unknown."""
    value = view.constant(0)
    if value is not None:
        return value.shape
    return (view.batch, *view.shape()) if view.is_activation(0) else None


def _size(view: NodeView) -> Array | None:
    full = _dims(view)
    return None if full is None else np.asarray(prod(full), dtype=np.int64)


def _shape(view: NodeView) -> Array | None:
    full = _dims(view)
    if full is None:
        return None
    end = view.attribute("end")
    return np.asarray(full[view.int_of("start", 0) : None if end is None else int(end.i)], dtype=np.int64)


def _axes(view: NodeView, values: list[Array]) -> tuple[int, ...] | None:
    """Axes of Squeeze and Unsqueeze: an attribute until opset 12, an input from 13 on."""
    if len(values) > 1:
        return tuple(int(i) for i in values[1].reshape(-1))
    return view.ints_of("axes")


def _unsqueeze(view: NodeView, values: list[Array]) -> Array:
    return np.expand_dims(values[0], _axes(view, values) or ())


def _squeeze(view: NodeView, values: list[Array]) -> Array:
    return np.squeeze(values[0], _axes(view, values))


def _gather(view: NodeView, values: list[Array]) -> Array:
    size = values[0].shape[view.int_of("axis", 0)]
    _limit((values[0].size // max(size, 1), values[1].size))
    return np.asarray(np.take(values[0], values[1].astype(np.int64), axis=view.int_of("axis", 0)))


def _concat(view: NodeView, values: list[Array]) -> Array:
    return np.concatenate(values, axis=view.int_of("axis", 0))


def _slice(view: NodeView, values: list[Array]) -> Array:
    """Bounds are attributes in opset 9, inputs from 10 on."""
    starts, ends, axes = view.ints_of("starts"), view.ints_of("ends"), view.ints_of("axes")
    steps: tuple[int, ...] | None = None
    if starts is None or ends is None:
        given = [tuple(int(i) for i in v.reshape(-1)) for v in values[1:]]
        starts, ends = given[0], given[1]
        axes = given[2] if view.input_name(3) else None
        steps = given[3] if view.input_name(4) else None
    index = [slice(None)] * values[0].ndim
    for i, axis in enumerate(axes if axes is not None else range(len(starts))):
        step = 1 if steps is None else steps[i]
        end = None if step < 0 and ends[i] < -values[0].shape[axis] else ends[i]
        index[axis] = slice(starts[i], end, step)
    return values[0][tuple(index)]


def _cast(view: NodeView, values: list[Array]) -> Array:
    return values[0].astype(helper.tensor_dtype_to_np_dtype(view.int_of("to", 1)))


def _constant_of_shape(view: NodeView, values: list[Array]) -> Array:
    fill = view.tensor_of("value")
    shape = tuple(int(i) for i in values[0].reshape(-1))
    _limit(shape)
    return np.zeros(shape, np.float32) if fill is None else np.full(shape, fill.reshape(-1)[0])


def _meeting(values: list[Array]) -> list[Array]:
    """The operands, checked to have no result that is too large."""
    _limit(np.broadcast_shapes(*(value.shape for value in values)))
    return values


def _divide(_: NodeView, values: list[Array]) -> Array:
    _meeting(values)
    whole = np.issubdtype(values[0].dtype, np.integer)
    with np.errstate(divide="raise"):
        try:
            if whole:  # towards zero, unlike Python's
                return np.sign(values[0]) * np.sign(values[1]) * (np.abs(values[0]) // np.abs(values[1]))
            return values[0] / values[1]
        except FloatingPointError as error:
            raise ZeroDivisionError("division by zero") from error


def _reshape(_: NodeView, values: list[Array]) -> Array:
    dims = [int(i) for i in values[1].reshape(-1)]
    return values[0].reshape([values[0].shape[i] if n == 0 else n for i, n in enumerate(dims)])


def _transpose(view: NodeView, values: list[Array]) -> Array:
    return np.transpose(values[0], view.ints_of("perm"))


def _expand(_: NodeView, values: list[Array]) -> Array:
    shape = np.broadcast_shapes(values[0].shape, tuple(int(i) for i in values[1].reshape(-1)))
    _limit(shape)
    return np.broadcast_to(values[0], shape)


def _tile(_: NodeView, values: list[Array]) -> Array:
    times = [int(i) for i in values[1].reshape(-1)]
    _limit(tuple(n * t for n, t in zip(values[0].shape, times, strict=True)))
    return np.tile(values[0], times)


def _range(_: NodeView, values: list[Array]) -> Array:
    first, end, step = (value.reshape(-1)[0] for value in values)
    _limit((max(int((end - first) / step) + 1, 0),))
    return np.arange(first, end, step, dtype=values[0].dtype)


def _modulo(view: NodeView, values: list[Array]) -> Array:
    if not np.asarray(values[1]).all():
        raise ZeroDivisionError("division by zero")
    _meeting(values)
    return np.fmod(values[0], values[1]) if view.int_of("fmod", 0) else np.mod(values[0], values[1])


def _limit(shape: tuple[int, ...]) -> None:
    if prod(shape) > TENSOR_ELEMENTS:
        raise ValueError(f"{list(shape)} are too many elements")


_FOLDS: dict[str, Callable[[NodeView, list[Array]], Array]] = {
    "Identity": lambda _, values: values[0],
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Equal": lambda _, values: np.asarray(np.equal(*_meeting(values))),
    "Expand": _expand,
    "Mod": _modulo,
    "Range": _range,
    "Tile": _tile,
    "Where": lambda _, values: np.where(*_meeting(values)),
    "Add": lambda _, values: np.add(*_meeting(values)),
    "Sub": lambda _, values: np.subtract(*_meeting(values)),
    "Mul": lambda _, values: np.multiply(*_meeting(values)),
    "Div": _divide,
}

_FIRST: dict[str, Callable[[NodeView], Array | None]] = {"Constant": _constant, "Shape": _shape, "Size": _size}
"""Those that read no values."""

_ELEMENTWISE = frozenset({"Equal", "Mod", "Where", "Add", "Sub", "Mul", "Div"})
