"""Reads an ONNX classifier into a torch.fx GraphModule whose layers are ordinary, trainable PyTorch modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import fx, nn

from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.files.onnx_model import check_sizes, inlined, read_model_file
from proprune_cli.modules.outputs import difference, tensors_of
from proprune_cli.nets.export import TOLERANCE
from proprune_cli.nets.onnx_rules import RULES
from proprune_cli.nets.onnx_state import ImportState, refuse

_SHAPE_ARITHMETIC = frozenset({"Gather", "Slice", "Squeeze", "Unsqueeze", "Concat", "Cast", "Identity", "Mul", "Add"})


def import_onnx(path: Path) -> nn.Module:
    """Network of an ONNX file with one input [N, C, H, W], with its weights, in eval mode.

    It gives a tensor, or where the file has several outputs a tuple of them.

    Raises:
        InputError: the file is missing, damaged or no valid graph.
        UnsupportedError: an operator without an import rule.
    """
    where = str(path)
    proto = _read(path)
    state = ImportState(where, *_facts(proto, where))
    inputs = [i for i in proto.graph.input if i.name not in state.constants]
    if len(inputs) != 1 or not proto.graph.output:
        raise UnsupportedError(
            f"the model has {len(inputs)} inputs and {len(proto.graph.output)} outputs",
            where=where,
            remedy="give a network with one image input",
        )
    state.values[inputs[0].name] = state.graph.placeholder("x")
    for node in proto.graph.node:
        rule = RULES.get(node.op_type)
        reads_shape = any(name in state.shape_tensors for name in node.input)
        if node.op_type == "Shape" or (reads_shape and node.op_type in _SHAPE_ARITHMETIC):
            state.shape_tensors.update(node.output)
            continue
        if all(name in state.constants for name in node.output if name):
            continue
        if rule is None or node.domain not in ("", "ai.onnx"):
            raise refuse(node, "there is no rule for this operator", where)
        state.values[node.output[0]] = rule(node, state)
    outputs = tuple(state.value(output.name) for output in proto.graph.output)
    state.graph.output(outputs[0] if len(outputs) == 1 else outputs)
    root = nn.Module()
    for name, module in state.modules.items():
        root.add_module(name, module)
    for name, tensor in state.buffers.items():
        root.register_buffer(name, tensor)
    model = fx.GraphModule(root, state.graph, class_name="OnnxNetwork").eval()
    model.graph.eliminate_dead_code()
    model.recompile()
    _compare(model, proto, inputs[0], where)
    return model


def _compare(model: nn.Module, proto: onnx.ModelProto, source: onnx.ValueInfoProto, where: str) -> None:
    """Run the imported network beside ONNX Runtime, so that a wrong import rule cannot pass unseen."""
    import onnxruntime as ort

    dims = [d.dim_value for d in source.type.tensor_type.shape.dim]
    if len(dims) != 4 or not all(dims[1:]):
        raise UnsupportedError(
            f"the input's shape is {dims}, where 0 is unknown",
            where=f"{where}, input {source.name!r}",
            remedy="export with a fixed [N, C, H, W]; only the batch may be dynamic",
        )
    images = np.random.default_rng(0).standard_normal([dims[0] or 1, *dims[1:]]).astype(np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = [torch.from_numpy(np.asarray(array)) for array in session.run(None, {source.name: images})]
    with torch.no_grad():
        found = tensors_of(model(torch.from_numpy(images)))
    if difference(found, expected) > TOLERANCE:
        raise UnsupportedError(
            "the imported network does not give the file's own outputs",
            where=where,
            remedy="give the PyTorch model instead (--model package.module:factory)",
        )


def _read(path: Path) -> onnx.ModelProto:
    try:
        proto = inlined(read_model_file(path), str(path))
        onnx.checker.check_model(proto)
        check_sizes(proto, str(path))
    except (ValueError, onnx.checker.ValidationError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"this is not a readable ONNX model: {first[:200]}",
            where=str(path),
            remedy="export the model again; the file may be truncated, or its external data missing",
        ) from error
    return proto


def _facts(proto: onnx.ModelProto, where: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, tuple[int | None, ...]]]:
    constants: dict[str, npt.NDArray[Any]] = {}
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                f"the weights {tensor.name!r} hold NaN or infinity",
                where=where,
                remedy="train or export the model again",
            )
        constants[tensor.name] = array
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise InputError(
            f"the shapes of this ONNX model contradict each other: {str(error).splitlines()[0][:200]}",
            where=where,
            remedy="export the model again",
        ) from error
    shapes: dict[str, tuple[int | None, ...]] = {}
    for info in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        dims = info.type.tensor_type.shape.dim
        shapes[info.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    return constants, shapes
