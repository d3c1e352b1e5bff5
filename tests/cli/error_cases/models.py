"""Models to compile, and their calibration images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.cli.conftest import Files, tiny_model
from tests.cli.error_cases.registry import Arguments, case

# Models


def _compile(model: onnx.ModelProto, images: np.ndarray | None = None) -> Arguments:
    onnx.save(model, "net.onnx")
    np.save("x.npy", np.ones((2, 1, 8, 8), np.float32) if images is None else images)
    return ["compile", "net.onnx", "--calibration", "x.npy", "-o", "net.ppr"]


def _weights(model: onnx.ModelProto, name: str) -> TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def _poisoned(value: float) -> onnx.ModelProto:
    model = tiny_model()
    tensor = _weights(model, "w2")
    array = numpy_helper.to_array(tensor).copy()
    array[0, 0, 0, 0] = value
    tensor.CopyFrom(numpy_helper.from_array(array, "w2"))
    return model


@case(1)
def model_missing(_: Files) -> Arguments:
    return ["compile", "net.onnx", "-o", "net.ppr"]


@case(1)
def model_truncated(tiny: Files) -> Arguments:
    arguments = _compile(tiny_model())
    content = Path("net.onnx").read_bytes()
    Path("net.onnx").write_bytes(content[: len(content) - 40])
    return arguments


@case(1)
def model_with_a_cycle(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.node[0].input[0] = "r2"
    return _compile(model)


@case(1)
def model_without_an_initializer(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.initializer.remove(_weights(model, "w2"))
    return _compile(model)


@case(1)
def model_with_nan_weights(_: Files) -> Arguments:
    return _compile(_poisoned(float("nan")))


@case(1)
def model_with_infinite_weights(_: Files) -> Arguments:
    return _compile(_poisoned(float("inf")))


@case(3)
def model_with_dynamic_shape(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    return _compile(model)


@case(3)
def model_in_float16(_: Files) -> Arguments:
    model = tiny_model()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return _compile(model)


@case(3)
def model_with_an_unsupported_operator(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.node[1].CopyFrom(helper.make_node("NonZero", ["c1"], ["r1"], name="act1"))
    return _compile(model)


@case(3)
def model_of_a_newer_opset(_: Files) -> Arguments:
    model = tiny_model()
    model.opset_import[0].version = 99
    return _compile(model)


def _one_conv(channels: int, height: int, width: int, kernel: tuple[int, int], dilation: int) -> onnx.ModelProto:
    weight = np.ones((channels, 1, *kernel), np.float32) / (kernel[0] * kernel[1])
    span = [(k - 1) * dilation for k in kernel]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", kernel_shape=kernel, dilations=[dilation, dilation])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, height - span[0], width - span[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@case(3)
def model_that_does_not_fit_cma(_: Files) -> Arguments:
    return _compile(_one_conv(1, 2900, 2900, (1, 1), 1), np.ones((1, 1, 2900, 2900), np.float32))


@case(3)
def model_that_does_not_fit_bram(_: Files) -> Arguments:
    return _compile(_one_conv(1, 4, 9000, (1, 3), 4400), np.ones((1, 1, 4, 9000), np.float32))


# Calibration


@case(1)
def calibration_not_given(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "-o", "net.ppr"]


@case(1)
def calibration_empty(_: Files) -> Arguments:
    return _compile(tiny_model(), np.zeros((0, 1, 8, 8), np.float32))


@case(1)
def calibration_with_nan(_: Files) -> Arguments:
    return _compile(tiny_model(), np.full((2, 1, 8, 8), np.nan, np.float32))


@case(1)
def calibration_of_another_shape(_: Files) -> Arguments:
    return _compile(tiny_model(), np.zeros((2, 3, 8, 8), np.float32))


@case(1)
def calibration_missing(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", "x.npy", "-o", "net.ppr"]


@case(1)
def calibration_from_an_unknown_data_set(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", "imagenot", "-o", "net.ppr"]
