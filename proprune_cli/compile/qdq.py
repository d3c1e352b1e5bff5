"""The quantised network as an ONNX model in QDQ form: what ONNX Runtime runs with the same bytes as the engine.

Every layer's result is quantised before its ReLU. So the fused integer kernels and the plain float ones agree: a
convolution's float result is exact, and both round the same number once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.ir.quantized import REQUANT_SHIFT, QAdd, QConv, QGraph, QLayer, QMaxPool

OPSET = 13
IR_VERSION = 8
"""Old enough for the runtimes that boards and older installations carry."""


# Names with a prefix, so that no tensor of the user's model can be called the same.
ZERO = "constant/zero"
OUTPUT_SHAPE = "constant/output_shape"


def codes_name(tensor: str) -> str:
    """Name of the int8 tensor that holds the codes of ``tensor`` in the QDQ model."""
    return tensor + "/codes"


def to_qdq(graph: QGraph, *, expose_codes: bool = False) -> onnx.ModelProto:
    """The QDQ model: float32 [N, C, H, W] in, dequantised float32 [N, *output_shape] out.

    Args:
        expose_codes: add the int8 codes of every tensor as outputs named by ``codes_name``.
    """
    build = _Builder(graph)
    build.quantise(graph.input, graph.input)
    for layer in graph.layers:
        build.layer(layer)
    build.finish()
    outputs = [helper.make_tensor_value_info(graph.output, TensorProto.FLOAT, ["N", *graph.output_shape])]
    if expose_codes:
        outputs += [
            helper.make_tensor_value_info(codes_name(t.name), TensorProto.INT8, ["N", t.channels, t.height, t.width])
            for t in graph.tensors.values()
        ]
    source = graph.tensors[graph.input]
    shape = ["N", source.channels, source.height, source.width]
    inputs = [helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, shape)]
    body = helper.make_graph(build.nodes, graph.name, inputs, outputs, build.constants)
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="proprune"
    )


class _Builder:
    """Collects nodes and constants; every tensor's codes are dequantised once."""

    def __init__(self, graph: QGraph) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._graph = graph
        self._scales: set[int] = set()
        self._constant(ZERO, np.zeros((), np.int8))

    def layer(self, layer: QLayer) -> None:
        linear = layer.y + "/linear"
        inputs = [self._real(name) for name in layer.inputs]
        if isinstance(layer, QConv):
            self._add("Conv", [*inputs, *self._weights(layer)], linear, layer.name, **_window(layer))
        elif isinstance(layer, QMaxPool):
            self._add("MaxPool", inputs, linear, layer.name, **_window(layer))
        elif isinstance(layer, QAdd):
            self._add("Add", inputs, linear, layer.name)
        else:
            self._add("Relu", inputs, linear, layer.name)
        clamped = isinstance(layer, QConv | QMaxPool | QAdd) and layer.relu
        if clamped:
            # Codes before the clamp, then the clamp on their exact values.
            scale = self._scale(self._exponent(layer.y))
            self._add("QuantizeLinear", [linear, scale, ZERO], linear + "/codes")
            self._add("DequantizeLinear", [linear + "/codes", scale, ZERO], linear + "/real")
            self._add("Relu", [linear + "/real"], layer.y + "/relu", layer.name + "/relu")
        self.quantise(layer.y + "/relu" if clamped else linear, layer.y)

    def quantise(self, real: str, tensor: str) -> None:
        """Codes of ``tensor`` from the float tensor ``real``, and their values again for the readers."""
        scale = self._scale(self._exponent(tensor))
        self._add("QuantizeLinear", [real, scale, ZERO], codes_name(tensor))
        self._add("DequantizeLinear", [codes_name(tensor), scale, ZERO], self._real(tensor))

    def finish(self) -> None:
        """The float output in the ONNX model's shape."""
        graph = self._graph
        shape = np.asarray([0, *graph.output_shape], np.int64)
        self._constant(OUTPUT_SHAPE, shape)
        self._add("Reshape", [self._real(graph.output), OUTPUT_SHAPE], graph.output)

    def _weights(self, layer: QConv) -> list[str]:
        ex, ey = self._exponent(layer.x), self._exponent(layer.y)
        steps = layer.multiplier.astype(np.float32)
        names = [f"{layer.name}/{part}" for part in ("weight", "bias")]
        scales = (steps * np.float32(2.0 ** (ey - ex - REQUANT_SHIFT)), steps * np.float32(2.0 ** (ey - REQUANT_SHIFT)))
        for name, codes, scale in zip(names, (layer.weight, layer.bias), scales, strict=True):
            self._constant(name + "/codes", codes)
            self._constant(name + "/scale", scale)
            self._constant(name + "/zero", np.zeros(len(scale), codes.dtype))
            parts = [name + "/codes", name + "/scale", name + "/zero"]
            self._add("DequantizeLinear", parts, name, axis=0)
        return names

    def _add(self, op: str, inputs: list[str], y: str, name: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [y], name=name or f"{y}/{op}", **attributes))

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def _scale(self, exponent: int) -> str:
        name = f"constant/scale_2**{exponent}"
        if exponent not in self._scales:
            self._scales.add(exponent)
            self._constant(name, np.asarray(2.0**exponent, np.float32))
        return name

    def _exponent(self, tensor: str) -> int:
        return self._graph.tensors[tensor].exponent

    def _real(self, tensor: str) -> str:
        return tensor + "/real"


def _window(layer: QConv | QMaxPool) -> dict[str, Any]:
    kernel = layer.weight.shape[2:] if isinstance(layer, QConv) else layer.kernel
    window: dict[str, Any] = {
        "kernel_shape": list(kernel),
        "strides": layer.stride,
        "pads": layer.pads,
        "dilations": layer.dilation,
    }
    if isinstance(layer, QConv):
        window["group"] = layer.groups
    return window
