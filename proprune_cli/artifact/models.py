"""The ONNX models inside an artifact, held against what the compiler puts there before ONNX Runtime sees them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from proprune_cli.accel.program import HostStep, Program
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.files.onnx_model import check_sizes, parse_model
from proprune_cli.ops.host import AT_END, IN_QDQ, IN_STEPS

_REMEDY = "compile the network again"

Shapes = Mapping[str, tuple[int, ...]]


def check_segment(content: bytes, given: Shapes, where: str) -> None:
    """The host's end of a network.

    Args:
        given: shape of each of the program's outputs by name, without the batch.

    Raises:
        InputError: it holds what the compiler would not put there, or does not read the program's outputs.
    """
    model = _checked(content, AT_END, where)
    _check_inputs(model, {name: (1, *shape) for name, shape in given.items()}, TensorProto.FLOAT, where)


def check_step(step: HostStep, batch: int, where: str) -> None:
    """A step of the host between layers: codes in, codes out, one of the ``batch`` images at a time.

    Raises:
        InputError: as `check_segment`.
    """
    where = f"{where}, host step {step.name!r} ({', '.join(step.operators)})"
    model = _checked(step.model, IN_STEPS, where)
    inputs = [value.name for value in _inputs(model)]
    if len(inputs) != len(step.inputs) or len(model.graph.output) != 1:
        raise _fault(f"it reads {len(inputs)} tensors, the program gives it {len(step.inputs)}", where)
    planes = dict(zip(inputs, step.inputs, strict=True))
    # A batch of none is found with the rest of the layout.
    given = {name: (1, p.channels, p.height // max(batch, 1), p.width) for name, p in planes.items()}
    _check_inputs(model, given, TensorProto.INT8, where)


def check_qdq(content: bytes, program: Program, where: str) -> None:
    """The QDQ model of the whole network.

    Raises:
        InputError: as `check_segment`, or it is not of the program's inputs and outputs.
    """
    model = _checked(content, IN_QDQ, where)
    inputs = _inputs(model)
    if len(inputs) != 1:
        raise _fault(f"it has {len(inputs)} inputs", where)
    _check_inputs(model, {inputs[0].name: (1, *program.image_shape)}, TensorProto.FLOAT, where)
    names = {value.name for value in model.graph.output}
    if missing := [output.name for output in program.outputs if output.name not in names]:
        raise _fault(f"it does not make the output {missing[0]!r}", where)


def _checked(content: bytes, allowed: frozenset[str], where: str) -> onnx.ModelProto:
    try:
        model = parse_model(content, where)
    except InputError as error:
        raise _fault(error.what, where) from error
    if model.functions or model.graph.sparse_initializer or model.training_info:
        raise _fault("it holds functions, sparse weights or a training", where)
    if any(opset.domain not in ("", "ai.onnx") for opset in model.opset_import):
        raise _fault("it asks for operators of others than ONNX", where)
    for node in model.graph.node:
        if node.op_type not in allowed or node.domain not in ("", "ai.onnx"):
            raise _fault(f"it holds the operator {node.op_type!r}", where)
        if any(a.HasField("g") or a.graphs or a.ref_attr_name for a in node.attribute):
            raise _fault(f"the operator {node.op_type!r} holds a graph", where)
    try:
        check_sizes(model, where, known=True)
    except UnsupportedError as error:
        raise _fault(error.what, where) from error
    return model


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]


def _check_inputs(model: onnx.ModelProto, given: Shapes, kind: int, where: str) -> None:
    for value in _inputs(model):
        tensor = value.type.tensor_type
        shape = tuple(d.dim_value if d.HasField("dim_value") else 1 for d in tensor.shape.dim)
        if value.name not in given or tensor.elem_type != kind or shape != given[value.name]:
            raise _fault(f"it reads {value.name!r} {list(shape)}, which the program does not give", where)


def _fault(what: str, where: str) -> InputError:
    return InputError(f"a model in the artifact is not the compiler's: {what}", where=where, remedy=_REMEDY)
