"""The quantised network as an ONNX model in QDQ form: what ONNX Runtime runs with the same bytes as the engine.

Every layer's result is quantised before its ReLU. So the fused integer kernels and the plain float ones agree: a
convolution's float result is exact, and both round the same number once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from typing_extensions import assert_never

from proprune_cli.compile.qdq.nodes import OnnxBody, window_attributes
from proprune_cli.ir.nodes import (
    Add as Add,
)
from proprune_cli.ir.nodes import (
    Concat as Concat,
)
from proprune_cli.ir.nodes import (
    Host as Host,
)
from proprune_cli.ir.nodes import (
    MaxPool as MaxPool,
)
from proprune_cli.ir.nodes import (
    Mul as Mul,
)
from proprune_cli.ir.nodes import (
    Relu as Relu,
)
from proprune_cli.ir.nodes import (
    Select as Select,
)
from proprune_cli.ir.nodes import Upsample
from proprune_cli.ir.quantized import (
    REQUANT_SHIFT,
    QConv,
    QConvTranspose,
    QGraph,
    QLayer,
    QPad,
    QTable,
    QTensor,
)
from proprune_cli.ops.functions import function_of

# Names with a prefix, so that no tensor of the user's model can be called the same.
ZERO = "constant/zero"
PREPROCESS = "preprocess"
_CLIP_EXPONENT = -20
"""For smaller scales ONNX Runtime may not clip: its optimiser drops a Clip whose bounds are within 10⁻⁶ of those of the
codes, and overflows for 6.0 at a scale of 2**-30. Untrained networks have such tensors."""


def codes_name(tensor: str) -> str:
    """Name of the int8 tensor that holds the codes of ``tensor`` in the QDQ model."""
    return tensor + "/codes"


def to_qdq(graph: QGraph, *, expose_codes: bool = False) -> onnx.ModelProto:
    """The QDQ model: float32 [N, C, H, W] in, each output dequantised, float32 [N, *shape], by its name.

    Args:
        expose_codes: add the int8 codes of every tensor as outputs named by ``codes_name``.
    """
    build = _Builder(graph)
    build.quantise(build.preprocessed(), graph.input)
    for layer in graph.layers:
        build.layer(layer)
    build.finish()
    outputs = [helper.make_tensor_value_info(o.name, TensorProto.FLOAT, ["N", *o.shape]) for o in graph.outputs]
    if expose_codes:
        outputs += [
            helper.make_tensor_value_info(codes_name(t.name), TensorProto.INT8, ["N", t.channels, t.height, t.width])
            for t in graph.tensors.values()
        ]
    source = graph.tensors[graph.input]
    shape = ["N", source.channels, source.height, source.width]
    return build.model(graph.name, [helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, shape)], outputs)


def without_preprocess(model: onnx.ModelProto) -> onnx.ModelProto:
    """A QDQ model that takes images after preprocessing, of one that preprocesses them."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    steps = [node for node in plain.graph.node if node.name.startswith(f"{PREPROCESS}/")]
    for node in steps:
        plain.graph.node.remove(node)
    given = plain.graph.input[0].name
    for node in plain.graph.node:
        node.input[:] = [given if name.startswith(f"{PREPROCESS}/") else name for name in node.input]
    for constant in [c for c in plain.graph.initializer if c.name.startswith(f"{PREPROCESS}/")]:
        plain.graph.initializer.remove(constant)
    return plain


class _Builder(OnnxBody):
    """Collects nodes and constants; every tensor's codes are dequantised once."""

    def __init__(self, graph: QGraph) -> None:
        super().__init__()
        self._graph = graph
        self._scales: set[int] = set()
        self._numbers: set[str] = set()
        self.constant(ZERO, np.zeros((), np.int8))

    def preprocessed(self) -> str:
        """Name of the input after preprocessing: a Mul and an Add, each rounded once, as `Preprocess.apply` does."""
        name, preprocess = self._graph.input, self._graph.preprocess
        if preprocess is None:
            return name
        for op, part, value in zip(("Mul", "Add"), ("scale", "shift"), preprocess.columns, strict=True):
            y = f"{PREPROCESS}/{part}ed"
            self.add(op, [name, self.constant(f"{PREPROCESS}/{part}", value)], y, f"{PREPROCESS}/{op}")
            name = y
        return name

    def layer(self, layer: QLayer) -> None:
        linear = layer.y + "/linear"
        self._compute(layer, [self._real(name) for name in layer.inputs], linear)
        if isinstance(layer, QTable) and layer.op == "Clip" and self._exponent(layer.y) < _CLIP_EXPONENT:
            linear = self._fenced(linear, layer.name)
        if layer.clamped:
            # Codes before the clamp, then the clamp on their exact values.
            scale = self._scale(self._exponent(layer.y))
            self.add("QuantizeLinear", [linear, scale, ZERO], linear + "/codes")
            self.add("DequantizeLinear", [linear + "/codes", scale, ZERO], linear + "/real")
            self.add("Relu", [linear + "/real"], layer.y + "/relu", layer.name + "/relu")
        self.quantise(layer.y + "/relu" if layer.clamped else linear, layer.y)

    def _compute(self, layer: QLayer, inputs: list[str], y: str) -> None:
        """The layer's own operator, float32 in and out."""
        match layer:
            case QConv():
                window = {**window_attributes(layer.window), "group": layer.groups}
                self.add("Conv", [*inputs, *self._weights(layer)], y, layer.name, **window)
            case QConvTranspose():
                window = {**window_attributes(layer.window), "group": layer.groups}
                window["output_padding"] = _output_padding(layer, self._graph.tensors)
                self.add("ConvTranspose", [*inputs, *self._weights(layer)], y, layer.name, **window)
            case QTable():
                self.function(function_of(layer), inputs[0], y, layer.name)
            case QPad():
                value = layer.value * 2.0 ** self._exponent(layer.y)
                self.pad(inputs[0], y, layer.name, layer.pads, value, layer.mode)
            case Host():
                self.shared(layer, [self._fenced(x, layer.name) for x in inputs], y)
            case MaxPool() | Add() | Mul() | Relu() | Concat() | Select() | Upsample():
                self.shared(layer, inputs, y)
            case _:
                assert_never(layer)

    def _fenced(self, x: str, name: str) -> str:
        """``x``, where ONNX Runtime's optimiser does not look through.

        It would put its QLinearSoftmax, which rounds otherwise, for a Softmax, and move a Resize into a layout of which
        it has no kernel, or one with other rounding.
        """
        index = self._number(0)
        sequence = f"{name}/{x}/sequence"
        self.add("SequenceConstruct", [x], sequence)
        self.add("SequenceAt", [sequence, index], f"{name}/{x}/same")
        return f"{name}/{x}/same"

    def _number(self, value: int) -> str:
        """A constant int64 scalar."""
        name = f"constant/{value}"
        if name not in self._numbers:
            self._numbers.add(self.constant(name, np.asarray(value, np.int64)))
        return name

    def quantise(self, real: str, tensor: str) -> None:
        """Codes of ``tensor`` from the float tensor ``real``, and their values again for the readers."""
        scale = self._scale(self._exponent(tensor))
        self.add("QuantizeLinear", [real, scale, ZERO], codes_name(tensor))
        self.add("DequantizeLinear", [codes_name(tensor), scale, ZERO], self._real(tensor))

    def finish(self) -> None:
        """The float outputs in the ONNX model's shapes."""
        for number, output in enumerate(self._graph.outputs):
            shape = self.constant(f"constant/output_shape/{number}", np.asarray([0, *output.shape], np.int64))
            self.add("Reshape", [self._real(output.tensor), shape], output.name)

    def _weights(self, layer: QConv | QConvTranspose) -> list[str]:
        ex, ey = self._exponent(layer.x), self._exponent(layer.y)
        steps = layer.multiplier.astype(np.float32)
        names = [f"{layer.name}/{part}" for part in ("weight", "bias")]
        scales = (steps * np.float32(2.0 ** (ey - ex - REQUANT_SHIFT)), steps * np.float32(2.0 ** (ey - REQUANT_SHIFT)))
        if isinstance(layer, QConvTranspose) and layer.groups > 1:
            self._grouped_weight(layer, names[0], scales[0])
        else:
            self._dequantised(names[0], layer.weight, scales[0], int(isinstance(layer, QConvTranspose)))
        self._dequantised(names[1], layer.bias, scales[1], 0)
        return names

    def _dequantised(self, name: str, codes: NDArray[Any], scale: NDArray[np.float32], axis: int) -> None:
        self.constant(name + "/codes", codes)
        self.constant(name + "/scale", scale)
        self.constant(name + "/zero", np.zeros(len(scale), codes.dtype))
        self.add("DequantizeLinear", [name + "/codes", name + "/scale", name + "/zero"], name, axis=axis)

    def _grouped_weight(self, layer: QConvTranspose, name: str, scale: NDArray[np.float32]) -> None:
        """Filters of several groups share a column of the weight, so their scales do not lie along an axis of it."""
        rows = np.repeat(scale.reshape(layer.groups, -1), len(layer.weight) // layer.groups, axis=0)
        self._dequantised(name + "/unscaled", layer.weight, np.ones(layer.weight.shape[1], np.float32), 1)
        self.add("Mul", [name + "/unscaled", self.constant(name + "/scale", rows[:, :, None, None])], name)

    def _scale(self, exponent: int) -> str:
        name = f"constant/scale_2**{exponent}"
        if exponent not in self._scales:
            self._scales.add(exponent)
            self.constant(name, np.asarray(2.0**exponent, np.float32))
        return name

    def _exponent(self, tensor: str) -> int:
        return self._graph.tensors[tensor].exponent

    def _real(self, tensor: str) -> str:
        return tensor + "/real"


def _output_padding(layer: QConvTranspose, tensors: dict[str, QTensor]) -> list[int]:
    """What the output's size has beyond the window's own: ONNX ``output_padding``."""
    x, y = tensors[layer.x], tensors[layer.y]
    plain = layer.window.transposed_shape((x.height, x.width))
    return [y.height - plain[0], y.width - plain[1]]
