"""Reading an ONNX model and checking what does not depend on operators: file, weights, types, inputs, opset."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.files.limits import TENSOR_ELEMENTS
from proprune_cli.files.onnx_model import check_structure, inlined, read_model_file
from proprune_cli.ir.nodes import Shape
from proprune_cli.ops.importing import Array, tensor_value

OPSETS = range(9, 25)
"""Versions of the default operator set that are read."""

_REEXPORT = "export the model again, for example with torch.onnx.export(model.eval(), ..., opset_version=18)"


def read_model(source: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """The model with its external data and local functions resolved.

    Raises:
        InputError: the file is missing, truncated or not ONNX, or its external data is missing.
    """
    if isinstance(source, onnx.ModelProto):
        model, where = source, f"model {source.graph.name!r}"
        check_structure(model, where)
    else:
        model, where = read_model_file(Path(source)), str(source)
    return inlined(model, where)


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default operator set.

    Raises:
        InputError: the model declares none. UnsupportedError: it is older or newer than ``OPSETS``.
    """
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    where = f"model {model.graph.name!r}"
    if not versions:
        raise InputError("the model declares no version of the ONNX operator set", where=where, remedy=_REEXPORT)
    version = int(versions[0])
    if version not in OPSETS:
        near = OPSETS[-1] if version > OPSETS[-1] else 18
        raise UnsupportedError(
            f"the model uses ONNX opset {version}; {OPSETS[0]} to {OPSETS[-1]} are supported",
            where=where,
            remedy=f"export with opset_version={near}",
        )
    return version


def _may_be_infinite(model: onnx.ModelProto) -> set[str]:
    """Names that nothing reads but a Pad for its value or a Clip for a bound, where infinity means something."""
    reads: dict[str, bool] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            fine = (node.op_type, index) in {("Pad", 2), ("Clip", 1), ("Clip", 2)}
            reads[name] = reads.get(name, True) and fine
    return {name for name, fine in reads.items() if fine}


def initializers(model: onnx.ModelProto) -> dict[str, Array]:
    """Value of every initializer.

    Raises:
        InputError: one is damaged. UnsupportedError: one is float16, bfloat16 or sparse.
    """
    if model.graph.sparse_initializer:
        raise UnsupportedError(
            "the model has sparse initializers", where=f"model {model.graph.name!r}", remedy="store the weights dense"
        )
    values: dict[str, Array] = {}
    unbounded = _may_be_infinite(model)
    for tensor in model.graph.initializer:
        where = f"initializer {tensor.name!r}"
        refuse_type(tensor.data_type, where)
        value = tensor_value(tensor, where)
        if tensor.name in unbounded and not np.isnan(value).any():
            values[tensor.name] = value
            continue
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            bad = int(value.size - np.count_nonzero(np.isfinite(value)))
            raise InputError(
                f"the weight {tensor.name!r} has {bad} NaN or infinite of {value.size} elements",
                where=where,
                remedy="training diverged or the file is damaged: export a checkpoint with finite weights",
            )
        values[tensor.name] = value
    return values


def refuse_type(data_type: int, where: str) -> None:
    """Refuse half precision: weights and activations are quantised from float32.

    Raises:
        UnsupportedError: ``data_type`` is float16 or bfloat16.
    """
    if data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raise UnsupportedError(
            f"{where} is {TensorProto.DataType.Name(data_type).lower()}; quantisation starts from float32",
            where=where,
            remedy="export the model in float32: model.float() before torch.onnx.export",
        )


def the_input(model: onnx.ModelProto) -> tuple[str, int, Shape]:
    """Name, declared batch (1 when symbolic) and shape without the batch of the one image input.

    Raises:
        UnsupportedError: several inputs, another type than float32, another rank than 4, a symbolic size.
        InputError: no input at all.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    where = f"model {model.graph.name!r}"
    if not inputs:
        raise InputError("the model has no input that is not a weight", where=where, remedy=_REEXPORT)
    if len(inputs) > 1:
        raise UnsupportedError(
            f"the model has {len(inputs)} inputs ({', '.join(value.name for value in inputs)}); one is supported",
            where=where,
            remedy="wrap the model so that it takes one image tensor",
        )
    name, tensor = inputs[0].name, inputs[0].type.tensor_type
    where = f"input {name!r}"
    refuse_type(tensor.elem_type, where)
    if tensor.elem_type != TensorProto.FLOAT:
        known = TensorProto.DataType.values()
        kind = TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type in known else "unknown"
        raise UnsupportedError(f"{where} is {kind}, not float32", where=where, remedy="export with a float32 input")
    dims = [
        d.dim_value if d.WhichOneof("value") == "dim_value" and d.dim_value > 0 else (d.dim_param or "?")
        for d in tensor.shape.dim
    ]
    shown = " x ".join(map(str, dims)) or "unknown"
    if len(dims) != 4:
        raise UnsupportedError(
            f"{where} has the shape {shown}; batch x channels x height x width is needed",
            where=where,
            remedy="export the model with an input of four axes, such as torch.zeros(1, 3, 32, 32)",
        )
    image = [d for d in dims[1:] if isinstance(d, int)]
    if len(image) != 3:
        raise UnsupportedError(
            f"{where} has the dynamic shape {shown}; only the batch may be dynamic",
            where=where,
            remedy="export with fixed channels, height and width (leave them out of dynamic_axes / dynamic_shapes)",
        )
    if prod(image) > TENSOR_ELEMENTS:
        raise UnsupportedError(
            f"{where} has {prod(image)} elements per image ({shown}); at most {TENSOR_ELEMENTS} are supported",
            where=where,
            remedy="export the model for a smaller image",
        )
    return name, dims[0] if isinstance(dims[0], int) else 1, tuple(image)


def the_outputs(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the outputs in their order; one that is listed twice is there once.

    Raises:
        InputError: there is none.
    """
    names = tuple(dict.fromkeys(value.name for value in model.graph.output))
    if not names:
        raise InputError("the model has no output", where=f"model {model.graph.name!r}", remedy=_REEXPORT)
    return names


def reach(model: onnx.ModelProto) -> set[str]:
    """Names that the model's outputs depend on: a node beside them is not imported, whatever it is."""
    makers: Mapping[str, onnx.NodeProto] = {name: node for node in model.graph.node for name in node.output if name}
    reached: set[str] = set()
    waiting = [value.name for value in model.graph.output]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(makers[name].input if name in makers else ())
    return reached
