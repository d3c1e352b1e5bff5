"""Models that are quantised already: their float function, which is then quantised for the engine.

Handled: QuantizeLinear and DequantizeLinear around float operators (QDQ), as quantisation tools and exports of
quantisation-aware training write them. Constants take the values that they are dequantised to. An activation that is
quantised and dequantised keeps what is not rounding, its range: a Clip, for tools drop a ReLU that the range implies
(ONNX Runtime's ``quantize_static`` does). The image's range is left to the calibration. Operators on integers are
refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from proprune_cli.errors import UnsupportedError
from proprune_cli.ops.importing import Array, tensor_value

PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})

INTEGER = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QGemm", "QLinearAdd", "QLinearAveragePool"}
    | {"QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul"}
    | {"QLinearSigmoid", "QLinearSoftmax", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
)
"""Operators of models that compute with integers (ONNX Runtime's QOperator and dynamic formats)."""

MOVES = frozenset(
    {
        "Concat",
        "Flatten",
        "Gather",
        "Identity",
        "MaxPool",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators whose results are among their first inputs' values."""

Range = tuple[float, float]


@dataclass(frozen=True)
class _Codes:
    """An activation's codes: the float tensor that they stand for, and the reals that they reach."""

    x: str
    scale: Array
    zero: int
    low: int
    high: int

    @property
    def reach(self) -> Range:
        scale = float(self.scale.reshape(-1)[0])
        return (self.low - self.zero) * scale, (self.high - self.zero) * scale


def without_quantisation(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """``model`` in float32, and a sentence on what was taken for what; empty where the model is float.

    Raises:
        UnsupportedError: it computes with integers; names the node and what to give instead.
    """
    for node in model.graph.node:
        if node.op_type in INTEGER:
            raise _refusal(node, "it computes with integers")
    if not any(node.op_type in PAIR for node in model.graph.node):
        return model, ""
    return _Float(model).run()


def _refusal(node: onnx.NodeProto, reason: str) -> UnsupportedError:
    name = node.name or "".join(node.output[:1])
    return UnsupportedError(
        f"{node.op_type} {name!r} is not supported: {reason}",
        where=f"node {name!r} ({node.op_type})",
        remedy="give the float model from before its quantisation, or one in QDQ format "
        "(onnxruntime: quantize_static with quant_format=QuantFormat.QDQ)",
    )


@dataclass
class _Float:
    model: onnx.ModelProto
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    made: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._values: dict[str, Array] = {}
        self._stored = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self._codes: dict[str, _Codes] = {}
        self._ranges: dict[str, Range] = {}
        self._opset = max((e.version for e in self.model.opset_import if e.domain in ("", "ai.onnx")), default=0)
        self._images = {value.name for value in self.model.graph.input} - self._stored.keys()
        self._weights = self._activations = 0

    def run(self) -> tuple[onnx.ModelProto, str]:
        for node in self.model.graph.node:
            if node.op_type == "Constant" and any(a.name == "value" for a in node.attribute):
                value = next(a.t for a in node.attribute if a.name == "value")
                self._values[node.output[0]] = tensor_value(value, f"node {node.name!r} (Constant)")
            if node.op_type == "QuantizeLinear":
                self._quantise(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantise(node)
            elif node.op_type == "Clip" and (node.input[0] in self._codes or self._is_codes(node.input[0])):
                self._narrow(node)
            else:
                self._keep(node)
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        read = {name for node in self.nodes for name in node.input} | {v.name for v in self.model.graph.output}
        del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
        result.graph.node.extend(self.nodes)
        integers = {n.input[0] for n in self.model.graph.node if n.op_type in PAIR}
        kept = [t for t in self.model.graph.initializer if t.name in read or t.name not in integers]
        result.graph.initializer.extend([*kept, *self.made])
        return result, (
            f"the model is quantised already: {self._weights} constants were taken at the values that they stand for "
            f"and {self._activations} quantisations of activations as their ranges; scales are chosen anew"
        )

    def _constant(self, name: str) -> Array | None:
        if name in self._stored and name not in self._values:
            self._values[name] = tensor_value(self._stored[name], f"initializer {name!r}")
        return self._values.get(name)

    def _is_codes(self, name: str) -> bool:
        value = self._values.get(name)
        return value is not None and value.dtype.kind in "iu"

    def _scale(self, node: onnx.NodeProto) -> tuple[Array, Array]:
        """Scale and zero point of a node of ``PAIR``; the zero point's type is that of the codes."""
        scale = self._constant(node.input[1]) if len(node.input) > 1 else None
        given = len(node.input) > 2 and node.input[2]
        zero = self._constant(node.input[2]) if given else np.zeros((), np.uint8)
        if scale is None or zero is None:
            raise _refusal(node, "its scale or zero point is computed at run time")
        if zero.dtype.kind not in "iu" and not _small(zero):
            raise _refusal(node, f"its codes are {zero.dtype}, not integers")
        return scale.astype(np.float32), zero

    def _quantise(self, node: onnx.NodeProto) -> None:
        scale, zero = self._scale(node)
        low, high = _limits(zero)
        value = self._constant(node.input[0])
        if value is not None:
            s, z = (_along(node, part, value.shape) for part in (scale, zero.astype(np.int64)))
            codes = np.clip(np.rint(value.astype(np.float32) / s) + z, low, high)
            self._values[node.output[0]] = codes.astype(np.int64)
            return
        if scale.size != 1 or zero.size != 1:
            raise _refusal(node, "an activation has a scale for each channel")
        if any(node.output[0] == output.name for output in self.model.graph.output):
            raise _refusal(node, "the model gives integers")
        self._codes[node.output[0]] = _Codes(node.input[0], scale, int(zero.reshape(-1)[0]), low, high)

    def _narrow(self, node: onnx.NodeProto) -> None:
        """Codes of fewer bits than their type has, such as torch's of 7."""
        bounds = [self._constant(name) if name else None for name in (*node.input[1:3], "", "")[:2]]
        low, high = (None if bound is None else int(bound.reshape(-1)[0]) for bound in bounds)
        codes = self._codes.get(node.input[0])
        if codes is None:
            value = self._values[node.input[0]]
            self._values[node.output[0]] = np.clip(value, low, high) if low is not None or high is not None else value
            return
        low, high = (
            max(codes.low, codes.low if low is None else low),
            min(codes.high, codes.high if high is None else high),
        )
        self._codes[node.output[0]] = _Codes(codes.x, codes.scale, codes.zero, low, high)

    def _dequantise(self, node: onnx.NodeProto) -> None:
        scale, zero = self._scale(node)
        codes = self._codes.get(node.input[0])
        y = node.output[0]
        value = None if codes is not None else self._constant(node.input[0])
        if value is not None:
            s, z = (_along(node, part, value.shape) for part in (scale, zero.astype(np.int64)))
            real = (value.astype(np.int64) - z).astype(np.float32) * s
            self._values[y] = real
            self.made.append(numpy_helper.from_array(np.ascontiguousarray(real, np.float32), y))
            self._weights += 1
            return
        if codes is None:
            raise _refusal(node, f"{node.input[0]!r} are integers that the model computes")
        if not np.array_equal(codes.scale, scale) or codes.zero != int(zero.reshape(-1)[0]):
            raise _refusal(node, "it dequantises by another scale than that of its codes")
        self._activations += 1
        low, high = codes.reach
        known = self._ranges.get(codes.x)
        inside = known is not None and low <= known[0] and known[1] <= high
        name = node.name or y
        if codes.x not in self._images:
            self._ranges[y] = known if inside and known is not None else (low, high)
        if inside or codes.x in self._images:
            self.nodes.append(helper.make_node("Identity", [codes.x], [y], name=name))
        elif self._opset < 11:
            self.nodes.append(helper.make_node("Clip", [codes.x], [y], name=name, min=low, max=high))
        else:
            bounds = [f"{y}/low", f"{y}/high"]
            self.made += [
                numpy_helper.from_array(np.asarray(n, np.float32), b) for n, b in zip((low, high), bounds, strict=True)
            ]
            self.nodes.append(helper.make_node("Clip", [codes.x, *bounds], [y], name=name))

    def _keep(self, node: onnx.NodeProto) -> None:
        self.nodes.append(node)
        for name in node.input:
            if name in self._codes:
                raise _refusal(node, f"it computes with the integers {name!r}")
        known = [self._ranges.get(name) for name in (node.input if node.op_type == "Concat" else node.input[:1])]
        ranges = [one for one in known if one is not None]
        if node.op_type in MOVES and ranges and len(ranges) == len(known):
            widest = (min(low for low, _ in ranges), max(high for _, high in ranges))
            self._ranges.update((name, widest) for name in node.output[:1] if node.op_type != "Split")
            self._ranges.update((name, widest) for name in node.output if node.op_type == "Split")


def _small(zero: Array) -> bool:
    """Types of fewer than 8 bits, which NumPy has from another package and does not call integers."""
    return zero.dtype.name in ("int4", "uint4", "int2", "uint2")


def _limits(zero: Array) -> tuple[int, int]:
    if _small(zero):
        bits = int(zero.dtype.name[-1])
        return (0, 2**bits - 1) if zero.dtype.name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    info = np.iinfo(zero.dtype)
    return int(info.min), int(info.max)


def _along(node: onnx.NodeProto, part: Array, shape: tuple[int, ...]) -> Array:
    """A scale or zero point, one number, one for each place of ``axis`` or for blocks along it, to fit ``shape``."""
    if part.size == 1:
        return part.reshape(())
    given = {a.name: int(a.i) for a in node.attribute}
    axis = given.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    block = given.get("block_size", 0)
    if 0 < block <= max(shape, default=0) and axis < len(shape):
        blocks = tuple(-(-n // block) if i == axis else n for i, n in enumerate(shape))
        if part.shape == blocks:
            return np.repeat(part, block, axis=axis).take(range(shape[axis]), axis=axis)
    if part.ndim != 1 or axis >= len(shape) or part.size != shape[axis]:
        raise _refusal(node, f"scales of {list(part.shape)} along axis {axis} of {list(shape)}")
    return part.reshape([-1 if i == axis else 1 for i in range(len(shape))])
