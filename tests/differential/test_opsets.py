"""One network in the forms of every operator set that is read: the same function, and the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.accel import interpret
from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.frontend.read import OPSETS
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import open_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.quantized import QGraph, QTable
from proprune_cli.ops.reference import run_reference
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import random

IMAGE = (3, 12, 10)


@dataclass
class Net:
    """Grows a network in the forms that operator set ``opset`` has."""

    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    drawn: int = 0

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def random(self, *shape: int) -> str:
        self.drawn += 1
        return self.constant(random(*shape, seed=self.drawn) / np.sqrt(max(np.prod(shape[1:]), 1)))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        made = [f"t{len(self.nodes)}.{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, name=f"{op}_{len(self.nodes)}", **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x: str, source: int, filters: int, kernel: int = 3, **attributes: Any) -> str:
        weight = self.random(filters, source, kernel, kernel)
        return self.add("Conv", x, weight, self.random(filters), pads=[kernel // 2] * 4, **attributes)

    def listed(self, op: str, x: str, name: str, values: list[int], since: int, **attributes: Any) -> Any:
        """A list of integers that is an attribute before operator set ``since`` and an input from then on."""
        if self.opset < since:
            return self.add(op, x, **{name: values}, **attributes)
        return self.add(op, x, self.constant(values, np.int64), **attributes)

    def clip(self, x: str, low: float, high: float) -> str:
        if self.opset < 11:
            return self.add("Clip", x, min=low, max=high)
        return self.add("Clip", x, self.constant(low), self.constant(high))

    def pad(self, x: str, pads: list[int], value: float) -> str:
        """``pads``: top, left, bottom, right."""
        top, left, bottom, right = pads
        full = [0, 0, top, left, 0, 0, bottom, right]
        if self.opset < 11:
            return self.add("Pad", x, pads=full, value=value)
        if self.opset < 18:
            return self.add("Pad", x, self.constant(full, np.int64), self.constant(value))
        axes = self.constant([2, -1], np.int64)
        return self.add("Pad", x, self.constant(pads, np.int64), self.constant(value), axes)

    def slice(self, x: str, axis: int, start: int, end: int) -> str:
        if self.opset < 10:
            return self.add("Slice", x, axes=[axis], starts=[start], ends=[end])
        return self.add("Slice", x, *(self.constant([n], np.int64) for n in (start, end, axis)))

    def halves(self, x: str, size: int) -> list[str]:
        """Halves of the channels."""
        if self.opset < 13:
            return self.add("Split", x, outputs=2, axis=1, split=[size, size])
        if self.opset < 18:
            return self.add("Split", x, self.constant([size, size], np.int64), outputs=2, axis=1)
        return self.add("Split", x, outputs=2, axis=1, num_outputs=2)

    def grown(self, x: str, factor: int, mode: str) -> str:
        """Pixels repeated or mixed, at the places that operator set 9 knows."""
        scales = [1, 1, factor, factor]
        if self.opset < 10:
            return self.add("Upsample", x, self.constant(scales), mode=mode)
        if self.opset < 11:
            return self.add("Resize", x, self.constant(scales), mode=mode)
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": mode}
        if self.opset < 18:
            return self.add("Resize", x, self.constant([]), self.constant(scales), **how)
        return self.add("Resize", x, "", self.constant(scales[2:]), axes=[2, 3], **how)

    def dropped(self, x: str) -> str:
        if self.opset < 12:
            return self.add("Dropout", x, ratio=0.5)
        return self.add("Dropout", x, self.constant(0.5), self.constant(False, np.bool_))

    def model(self, y: str) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *IMAGE])
        result = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "net", [x], [result], self.weights)
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8 if self.opset < 21 else 10)


def windows(net: Net) -> str:
    """Whatever slides, normalises or ends in features."""
    y = net.clip(net.conv("x", 3, 8), -1.5, 2.0)
    statistics = [net.random(8), net.random(8), net.random(8), net.constant(np.abs(random(8)) + 0.5)]
    y = net.add("BatchNormalization", y, *statistics, **({"training_mode": 0} if net.opset >= 14 else {}))
    y = net.pad(net.add("Elu", y, alpha=0.7), [1, 0, 2, 1], 0.25)
    pooled = net.add("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    dilations: dict[str, Any] = {"dilations": [1, 1]} if net.opset >= 19 else {}
    ceil: dict[str, Any] = {"ceil_mode": 0} if net.opset >= 10 else {}
    y = net.add("AveragePool", pooled, kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1, **dilations, **ceil)
    y = net.add("ConvTranspose", y, net.random(8, 6, 2, 2), strides=[2, 2])
    y = net.dropped(net.add("ThresholdedRelu", y, alpha=0.1))
    y = net.listed("Squeeze", net.add("GlobalAveragePool", y), "axes", [2, 3], 13)
    weight = [net.random(5, 6), net.random(5)]
    y = net.add("Gemm", y, *weight, transB=1)
    return net.add("Cast", net.add("Identity", y), to=TensorProto.FLOAT)


def moves(net: Net) -> str:
    """Whatever moves, repeats and reduces."""
    first, second = net.halves(net.conv("x", 3, 8), 4)
    near = net.grown(net.slice(first, 2, 1, -1), 2, "nearest")
    far = net.grown(net.slice(second, -2, 2, 12), 2, "linear")
    y = net.add("Concat", near, far, axis=1)
    shape = net.constant([0, 2, 4, 20, 10 * 2] if net.opset < 14 else [-1, 2, 4, 20, 20], np.int64)
    shuffled = net.add("Transpose", net.add("Reshape", y, shape), perm=[0, 2, 1, 3, 4])
    y = net.add("Reshape", shuffled, net.constant([-1, 8, 20, 20], np.int64))
    mean = net.listed("ReduceMean", y, "axes", [2], 18, keepdims=1)
    mean = net.listed("ReduceMean", mean, "axes", [3], 18, keepdims=1)
    most = net.listed("ReduceMax", y, "axes", [-1, -2], 18, keepdims=1)
    y = net.add("Sub", net.add("Mul", y, net.add("Sigmoid", most)), net.constant(0.3))
    y = net.add("Add", y, mean)
    return net.add("LeakyRelu", net.conv(y, 8, 4, 1), alpha=0.2)


def hosted(net: Net) -> str:
    """Whatever the host runs, between layers and at the end."""
    y = net.add("LRN", net.conv("x", 3, 8), size=3)
    y = net.conv(net.add("InstanceNormalization", y, net.random(8), net.random(8)), 8, 6, 1)
    y = net.add("Div", y, net.listed("ReduceL1", y, "axes", [1], 18, keepdims=1))
    y = net.add("Mul", net.conv(y, 6, 6, 1), net.listed("ReduceSum", y, "axes", [2, 3], 13, keepdims=1))
    y = net.add("Flatten", net.add("Tanh", net.conv(y, 6, 4)), axis=1)
    y = net.add("Gemm", y, net.random(7, 480), *((net.constant([0.0] * 7),) if net.opset < 11 else ()), transB=1)
    return net.add("Softmax", y, axis=1)


def newer(net: Net) -> str:
    """Activations that have operators of their own since some operator set, and are written out before."""
    y = net.conv("x", 3, 8)
    if net.opset < 14:
        y = net.add("Mul", y, net.add("HardSigmoid", y, alpha=1 / 6, beta=0.5))
    else:
        y = net.add("HardSwish", y)
    y = net.conv(y, 8, 8, 1)
    mish = net.opset >= 18
    y = net.add("Mish", y) if mish else net.add("Mul", y, net.add("Tanh", net.add("Softplus", y)))
    y = net.conv(y, 8, 8, 1)
    y = net.add("Swish", y) if net.opset >= 24 else net.add("Mul", y, net.add("Sigmoid", y))
    return net.conv(y, 8, 4, 1)


NETWORKS: dict[str, Callable[[Net], str]] = {f.__name__: f for f in (windows, moves, hosted, newer)}


def codes_of(name: str, opset: int, *, compared: bool) -> NDArray[np.int8]:
    """The network's output codes on two images; it is right in float, and where ``compared`` on every executor."""
    net = Net(opset)
    return compare(net.model(NETWORKS[name](net)), compared=compared)[1]


def compare(source: onnx.ModelProto, *, compared: bool) -> tuple[QGraph, NDArray[np.int8]]:
    """The quantised network and its output codes on two images, within int8's error of ONNX Runtime on ``source``."""
    x = random(2, *IMAGE) * 2
    session = open_session(source.SerializeToString(), optimise=False, threads=1)
    wanted = np.concatenate([np.asarray(session.run(None, {"x": image[None]})[0]) for image in x])
    graph = canonicalise(import_onnx(source))
    quantised, _ = quantise(graph, x)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    codes = run_reference(quantised, program.codes(x))[quantised.outputs[0].tensor]
    got = np.ldexp(codes.astype(np.float32), quantised.tensors[quantised.outputs[0].tensor].exponent)
    if graph.host_tail is not None:
        tail = open_session(graph.host_tail.model, optimise=False, threads=1)
        shape = (2, *graph.outputs[0].shape)
        got = np.asarray(tail.run(None, {tail.get_inputs()[0].name: got.reshape(shape)})[0])
    noise = np.square(got.reshape(wanted.shape) - wanted).mean() / wanted.var()
    assert noise < 0.01, f"signal to noise of {-10 * np.log10(noise):.1f} dB"
    if compared:
        np.testing.assert_array_equal(interpret.run(program, program.codes(x)[1]).outputs[0], codes[1])
        assert not any(differing_bytes(quantised, program, x).values())
    return quantised, codes


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_same_in_every_operator_set(name: str) -> None:
    assert (OPSETS[0], OPSETS[-1]) == (9, 24)
    expected = codes_of(name, 13, compared=True)
    for opset in OPSETS:
        codes = codes_of(name, opset, compared=opset in (OPSETS[0], OPSETS[-1]))
        np.testing.assert_array_equal(codes, expected, err_msg=f"operator set {opset}")


NEW: dict[str, tuple[int, tuple[str, ...], dict[str, Any]]] = {
    "GroupNormalization": (21, ("eight", "eight"), {"num_groups": 2}),
    "LayerNormalization": (21, ("row",), {}),
    "RMSNormalization": (23, ("row",), {}),
    "Attention": (23, ("itself", "itself"), {}),
    "Gelu": (20, (), {}),
    "Gelu, tanh": (20, (), {"approximate": "tanh"}),
    "Swish": (24, (), {"alpha": 1.7}),
}
"""Operators that are new or mean something else since the operator set that is given; their further inputs."""


@pytest.mark.parametrize("case", NEW)
def test_new_operators(case: str) -> None:
    since, inputs, attributes = NEW[case]
    for opset in {since, OPSETS[-1]}:
        net = Net(opset)
        y = net.conv("x", 3, 8)
        shapes = {"eight": (8,), "row": (10,)}
        given = [y if name == "itself" else net.random(*shapes[name]) for name in inputs]
        y = net.conv(net.add(case.partition(",")[0], y, *given, **attributes), 8, 4, 1)
        quantised = compare(net.model(y), compared=True)[0]
        tables = [layer for layer in quantised.layers if isinstance(layer, QTable)]
        assert len(tables) == case.startswith(("Gelu", "Swish"))
