"""Evaluating ONNX nodes whose inputs are constants: the chains around shapes that exporters leave behind."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import helper

from proprune_cli.ops.importing import Array, NodeView

LARGEST = 1 << 28
"""Elements of a constant that is made rather than read."""


def fold(view: NodeView) -> Array | None:
    """The node's value, or None when it is not a constant or this kind of node is not folded."""
    if view.op == "Constant":
        return _constant(view)
    if view.op == "Shape" and (view.is_activation(0) or view.constant(0) is not None):
        return _shape(view)
    rule = _FOLDS.get(view.op)
    if rule is None:
        return None
    values: list[Array | None] = []
    for index, name in enumerate(view.proto.input):
        value = view.constant(index)
        if value is None and name:
            return None
        values.append(value)
    if not values or values[0] is None:
        return None
    try:
        return rule(view, [np.asarray(0) if v is None else v for v in values])
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


def _shape(view: NodeView) -> Array:
    value = view.constant(0)
    full = (view.batch, *view.shape()) if value is None else value.shape
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
    if prod(shape) > LARGEST:
        raise ValueError(f"{list(shape)} are too many elements")
    return np.zeros(shape, np.float32) if fill is None else np.full(shape, fill.reshape(-1)[0])


def _expand(_: NodeView, values: list[Array]) -> Array:
    wanted = tuple(int(i) for i in values[1].reshape(-1))
    shape = np.broadcast_shapes(values[0].shape, wanted)
    if prod(shape) > LARGEST:
        raise ValueError(f"{list(shape)} are too many elements")
    return np.broadcast_to(values[0], shape)


def _where(_: NodeView, values: list[Array]) -> Array:
    return np.where(values[0].astype(np.bool_), values[1], values[2])


def _divide(_: NodeView, values: list[Array]) -> Array:
    whole = np.issubdtype(values[0].dtype, np.integer)
    with np.errstate(divide="raise"):
        try:
            return values[0] // values[1] if whole else values[0] / values[1]
        except FloatingPointError as error:
            raise ZeroDivisionError("division by zero") from error


def _reshape(_: NodeView, values: list[Array]) -> Array:
    dims = [int(i) for i in values[1].reshape(-1)]
    return values[0].reshape([values[0].shape[i] if n == 0 else n for i, n in enumerate(dims)])


def _transpose(view: NodeView, values: list[Array]) -> Array:
    return np.transpose(values[0], view.ints_of("perm"))


_FOLDS: dict[str, Callable[[NodeView, list[Array]], Array]] = {
    "Identity": lambda _, values: values[0],
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Equal": lambda _, values: np.asarray(values[0] == values[1]),
    "Where": _where,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Add": lambda _, values: values[0] + values[1],
    "Sub": lambda _, values: values[0] - values[1],
    "Mul": lambda _, values: values[0] * values[1],
    "Div": _divide,
}

FOLDED: tuple[str, ...] = ("Constant", "Shape", *_FOLDS)
"""Operators that are accepted where all their inputs are constants."""
