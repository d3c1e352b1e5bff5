"""The node cases of the ``onnx`` package's backend test, as networks of one operator."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from proprune_cli.compile.frontend.read import OPSETS
from proprune_cli.ops.host import MIDDLE

POINTWISE = frozenset(
    {"Abs", "Add", "Celu", "Clip", "Div", "Dropout", "Elu", "Erf", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"}
    | {"Mish", "Mul", "Neg", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sub", "Sum", "Tanh"}
    | {"ThresholdedRelu"}
)
"""Operators that mean the same with one more axis in front: their three-dimensional cases are images too."""


LAYOUT = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that compute nothing: a negation before them makes a network of them."""


@dataclass(frozen=True, eq=False)
class NodeCase:
    """One case as a network of one input.

    Attributes:
        operator: ONNX name of the operator; "expanded" for a case of the several nodes that define an operator.
        model: the first tensor that the case feeds is the input, all others are constants; of the outputs the first.
        images: the case's own input [N, C, H, W]. expected: the case's own first output.
        rtol, atol: tolerance of the case, for float results.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    images: NDArray[Any]
    expected: NDArray[Any]
    rtol: float
    atol: float


@cache
def node_cases() -> tuple[NodeCase, ...]:
    """Every case whose first input is a float32 or 8-bit tensor of four axes, or of three for ``POINTWISE``."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some cases divide by zero on purpose.
        found = load_model_tests(kind="node")
    found = [test for test in found if test.model is not None]
    alone = {test.name: test.model.graph.node[0].op_type for test in found if len(test.model.graph.node) == 1}
    cases = (case for test in found for case in _as_networks(test, alone.get(test.name.split("_expanded")[0], "")))
    return tuple(sorted(cases, key=lambda case: case.name))


def _as_networks(test: Any, operator: str) -> list[NodeCase]:
    """The case's networks; ``operator`` is the case's, or what an expanded case defines."""
    nodes = test.model.graph.node
    inputs, outputs = ([_array(value) for value in values] for values in test.data_sets[0])
    if not inputs or not outputs or inputs[0] is None or outputs[0] is None:
        return []
    if inputs[0].ndim == 3 and operator in POINTWISE:
        inputs, outputs = ([None if a is None else _lifted(a) for a in arrays] for arrays in (inputs, outputs))
    if inputs[0].ndim != 4 or inputs[0].dtype not in (np.float32, np.int8, np.uint8):
        return []
    alone = _with_constants(test.model, inputs, outputs)
    if len(nodes) == 1 and operator in MIDDLE and inputs[0].dtype == np.float32:
        return [_case(test, _between(_negated(alone)), -inputs[0], outputs[0])]
    if len(nodes) == 1 and operator in LAYOUT and inputs[0].dtype == np.float32:
        return [_case(test, _negated(alone), -inputs[0], outputs[0])]
    cases = [_case(test, alone, inputs[0], outputs[0])]
    other = inputs[1] if len(inputs) == 2 and len(nodes) == 1 and operator in POINTWISE else None
    if other is not None and other.shape == inputs[0].shape:
        both = np.concatenate([inputs[0], other], axis=1)
        cases.append(_case(test, _with_halves(test.model, both.shape, outputs), both, outputs[0], "_halves"))
    return cases


def _case(test: Any, model: onnx.ModelProto, x: NDArray[Any], y: NDArray[Any], suffix: str = "") -> NodeCase:
    nodes = test.model.graph.node
    operator = nodes[0].op_type if len(nodes) == 1 else "expanded"
    return NodeCase(test.name + suffix, operator, model, x, y, test.rtol, test.atol)


def _array(value: Any) -> NDArray[Any] | None:
    """A case's tensor; None for sequences, optionals and types that NumPy lacks."""
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub" else None


def _lifted(a: NDArray[Any]) -> NDArray[Any]:
    return a[None] if a.ndim == 3 else a


def _with_constants(
    model: onnx.ModelProto, inputs: list[NDArray[Any] | None], outputs: list[NDArray[Any] | None]
) -> onnx.ModelProto:
    """The case's graph with every input but the first as an initializer."""
    names = [value.name for value in model.graph.input]
    constants = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in zip(names[1:], inputs[1:], strict=False)
        if value is not None
    ]
    x = inputs[0]
    assert x is not None
    return _model(model, names[0], x.shape, x.dtype, list(model.graph.node), constants, outputs)


def _with_halves(model: onnx.ModelProto, shape: tuple[int, ...], outputs: list[Any]) -> onnx.ModelProto:
    """Both operands are activations: halves of one input's channels."""
    names = [value.name for value in model.graph.input]
    split = helper.make_node("Split", ["both", "sizes"], names, axis=1)
    sizes = numpy_helper.from_array(np.asarray([shape[1] // 2] * 2, np.int64), "sizes")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type))
    return _model(model, "both", shape, dtype, [split, *model.graph.node], [sizes], outputs)


def _negated(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network that first negates its input."""
    negated = onnx.ModelProto()
    negated.CopyFrom(model)
    x = negated.graph.input[0]
    nodes = [helper.make_node("Neg", ["negative"], [x.name]), *negated.graph.node]
    x.name = "negative"
    del negated.graph.node[:]
    negated.graph.node.extend(nodes)
    return negated


def _between(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network that goes on with a function that changes nothing, so that its end is the engine's."""
    longer = onnx.ModelProto()
    longer.CopyFrom(model)
    y = longer.graph.output[0]
    same = helper.make_node("LeakyRelu", [y.name], ["same"], alpha=1.0)
    y.name = "same"
    longer.graph.node.append(same)
    return longer


def _model(
    model: onnx.ModelProto,
    x: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    outputs: list[Any],
) -> onnx.ModelProto:
    """The network, declared in the newest operator set that is read where the case is of a newer one.

    Since opset 24 these operators have only gained element types; the checker and the expected output tell if not.
    """
    source = helper.make_tensor_value_info(x, helper.np_dtype_to_tensor_dtype(dtype), shape)
    kind = helper.np_dtype_to_tensor_dtype(outputs[0].dtype)
    result = helper.make_tensor_value_info(model.graph.output[0].name, kind, outputs[0].shape)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if "" in versions:
        versions[""] = _version(versions[""], nodes)
    graph = helper.make_graph(nodes, model.graph.name, [source], [result], constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(model.functions))


def _version(version: int, nodes: list[onnx.NodeProto]) -> int:
    """The newest operator set that is read, if it knows all operators of the case; else the case's own."""
    if any(node.op_type == "Split" and len(node.input) == 2 for node in nodes):
        version = max(version, 13)
    if version <= OPSETS[-1]:
        return version
    for node in nodes:
        try:
            schema = onnx.defs.get_schema(node.op_type, OPSETS[-1], node.domain)
        except onnx.defs.SchemaError:
            return version
        if not {a.name for a in node.attribute} <= set(schema.attributes):
            return version
    return OPSETS[-1]
