"""Evaluating one ONNX node between constants by ONNX Runtime, where `folding` has no rule of its own.

Weights that a network computes from others (weight and spectral normalisation, quantised initialisers, grids of
anchors) come in any operator; what they have in common is that they depend on nothing but constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt, prod
from typing import Any, cast

import numpy as np
import onnx
from onnx import helper, numpy_helper

from proprune_cli.accel.host import plain_session
from proprune_cli.files.limits import TENSOR_ELEMENTS
from proprune_cli.ops.importing import Array, NodeView

LARGEST_UNTOLD = 1 << 22
"""Elements that an operator may read of which nothing tells in advance how many it makes."""

MOST_PRODUCTS = 1 << 34
"""Multiplications of a matrix product or convolution of constants: seconds."""

_SHORT = 64
"""Elements of an input whose values may decide a shape."""

RANDOM: frozenset[str] = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that give something else each time."""

_MATRIX_PRODUCTS = frozenset({"Einsum", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"})
_CONVOLUTIONS = frozenset({"Conv", "ConvInteger", "ConvTranspose", "QLinearConv"})

IR_VERSION = 8


def can_evaluate(view: NodeView) -> bool:
    """Whether the node is one that gives the same each time, has constants alone as inputs, and no graph inside."""
    proto = view.proto
    if proto.op_type in RANDOM or proto.domain not in ("", "ai.onnx"):
        return False
    if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in proto.attribute):
        return False
    if not any(proto.input) or any(name and name not in view.constants for name in proto.input):
        return False
    training = view.constant(2) if proto.op_type == "Dropout" else None
    return training is None or not training.any()


def evaluate(view: NodeView) -> dict[str, Array] | None:
    """Every result of the node that has a name, or None where it gives something else than tensors.

    Raises:
        UnsupportedError: the inputs do not fit the operator, or the results would be too large.
    """
    values = {name: np.asarray(view.constants[name]) for name in dict.fromkeys(view.proto.input) if name}
    model = _model(view, values)
    _limit(view, model, values)
    wanted = [name for name in view.proto.output if name]
    try:
        results = _by_onnxruntime(model, values, wanted)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises its own, unrelated classes; it lacks some types
        results = _by_definition(view, model, values, wanted, error)
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        return None
    return {name: np.asarray(result) for name, result in zip(wanted, results, strict=True)}


def _model(view: NodeView, values: Mapping[str, Array]) -> onnx.ModelProto:
    """The node alone; short inputs are stored, so that shapes can be inferred, all others given."""
    stored = {name for name, value in values.items() if value.size <= _SHORT}
    body = helper.make_graph(
        [view.proto],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in values.items()
            if name not in stored
        ],
        [onnx.ValueInfoProto(name=name) for name in view.proto.output if name],
        [numpy_helper.from_array(np.asarray(values[name], order="C"), name) for name in sorted(stored)],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", view.opset)], ir_version=IR_VERSION)


def _limit(view: NodeView, model: onnx.ModelProto, values: Mapping[str, Array]) -> None:
    """Raises UnsupportedError where the results would be too large, before anything of their size is made."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=True).graph
    except Exception as error:  # the checker's own classes
        raise view.refusal(f"its constant inputs do not fit together ({' '.join(str(error).split())[:200]})") from error
    sizes: list[int] = []
    for value in inferred.output:
        shape = value.type.tensor_type.shape
        known = value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in shape.dim)
        if known:
            sizes.append(prod(int(d.dim_value) for d in shape.dim))
        elif sum(v.size for v in values.values()) > LARGEST_UNTOLD:
            raise view.refusal("it would make a constant of unknown size of large ones")
    if max(sizes, default=0) > TENSOR_ELEMENTS:
        raise view.refusal(f"it would make a constant of {max(sizes)} elements; at most {TENSOR_ELEMENTS} are made")
    operands = sorted((v.size for v in values.values()), reverse=True)[:2]
    products = 0
    if view.op in _MATRIX_PRODUCTS and len(operands) == 2:
        products = isqrt(prod(operands) * max(sizes, default=1))  # √(mk · kn · mn)
    elif view.op in _CONVOLUTIONS and (weight := view.constant(3 if view.op == "QLinearConv" else 1)) is not None:
        products = max(sizes, default=1) * weight.size // max(weight.shape[0], 1) if weight.ndim else 0
    if products > MOST_PRODUCTS:
        raise view.refusal(f"it would take {products} multiplications of constants; at most {MOST_PRODUCTS} are done")


def _by_onnxruntime(model: onnx.ModelProto, values: Mapping[str, Array], wanted: list[str]) -> list[Any]:
    session = plain_session(model.SerializeToString())
    feeds = {value.name: values[value.name] for value in session.get_inputs()}
    return cast("list[Any]", session.run(wanted, feeds))


def _by_definition(
    view: NodeView, model: onnx.ModelProto, values: Mapping[str, Array], wanted: list[str], first: Exception
) -> list[Any]:
    """By the evaluator of the ``onnx`` package, which knows every type."""
    from onnx.reference import ReferenceEvaluator

    feeds = {value.name: values[value.name] for value in model.graph.input}
    try:
        return list(ReferenceEvaluator(model).run(wanted, feeds))
    except Exception as error:  # its operators are plain Python and raise what they like
        said = " ".join(str(first).split()).rpartition("Status Message: ")[2][:200]
        raise view.refusal(f"its constant inputs do not fit together ({said})") from error
