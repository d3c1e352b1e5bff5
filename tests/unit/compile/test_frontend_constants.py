"""Weights and sizes that a network computes from constants: nothing of them is left, the function stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.ir.graph import Conv, Graph
from proprune_cli.ir.nodes import Upsample
from tests.unit.compile.onnx_nets import model, node, random

Weights = dict[str, NDArray[Any]]

W = random(4, 3, 3, 3)
NEAREST = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CONV = node("Conv", ["x", "w"], ["y"], name="conv")

COMPUTED: dict[str, tuple[tuple[onnx.NodeProto, ...], Weights]] = {
    "weight normalisation": (
        (
            node("ReduceL2", ["v"], ["n"], axes=[1, 2, 3], keepdims=1),
            node("Div", ["v", "n"], ["u"]),
            node("Mul", ["g", "u"], ["w"]),
        ),
        {"v": W, "g": random(4, 1, 1, 1, seed=1)},
    ),
    "spectral normalisation": (
        (
            node("Reshape", ["v", "flat"], ["m"]),
            node("MatMul", ["m", "right"], ["mr"]),
            node("MatMul", ["left", "mr"], ["sigma"]),
            node("Div", ["v", "sigma"], ["w"]),
        ),
        {"v": W, "flat": np.asarray([4, 27], np.int64), "right": random(27, seed=2), "left": random(4, seed=3)},
    ),
    "standardised weights": (
        (
            node("ReduceMean", ["v"], ["mean"], axes=[1, 2, 3]),
            node("Sub", ["v", "mean"], ["centred"]),
            node("Pow", ["centred", "two"], ["squared"]),
            node("ReduceMean", ["squared"], ["variance"], axes=[1, 2, 3]),
            node("Sqrt", ["variance"], ["deviation"]),
            node("Div", ["centred", "deviation"], ["w"]),
        ),
        {"v": W, "two": np.asarray(2, np.float32)},
    ),
    "a quantised initialiser": (
        (node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),),
        {
            "q": np.clip(W * 40, -128, 127).astype(np.int8),
            "s": np.asarray([0.1, 0.02, 0.3, 0.01], np.float32),
            "z": np.asarray([0, 3, -1, 0], np.int8),
        },
    ),
    "a product of low rank beside it": (
        (
            node("MatMul", ["a", "b"], ["ab"]),
            node("Reshape", ["ab", "full"], ["c"]),
            node("Sum", ["v", "c", "c"], ["w"]),
        ),
        {"v": W, "a": random(4, 2), "b": random(2, 27), "full": np.asarray([4, 3, 3, 3], np.int64)},
    ),
    "bounded weights": (
        (node("Tanh", ["v"], ["t"]), node("Clip", ["t", "low"], ["k"]), node("Softplus", ["k"], ["w"])),
        {"v": W, "low": np.asarray(-0.5, np.float32)},
    ),
    "weights chosen by a mask": (
        (node("Greater", ["v", "zero"], ["m"]), node("Where", ["m", "v", "zero"], ["w"])),
        {"v": W, "zero": np.zeros((), np.float32)},
    ),
    "one of several kernels": (
        (node("Split", ["v"], ["first", "w"], axis=0),),
        {"v": random(8, 3, 3, 3)},
    ),
}


@pytest.mark.parametrize("case", COMPUTED)
def test_computed_weights_are_weights(case: str) -> None:
    nodes, weights = COMPUTED[case]
    source = model(*nodes, CONV, weights=weights)
    graph = canonicalise(import_onnx(source))
    assert [type(n) for n in graph.nodes] == [Conv] and graph.host_tail is None
    same(source, graph)


@pytest.mark.parametrize("function", ["Floor", "Ceil", "Round"])
def test_sizes_are_computed_with_fractions(function: str) -> None:
    """As exporters write an interpolation by a factor: height and width by floating point, and back."""

    def axis(number: str, name: str) -> tuple[onnx.NodeProto, ...]:
        return (
            node("Gather", ["shape", number], [f"{name}.size"], axis=0),
            node("Cast", [f"{name}.size"], [f"{name}.float"], to=1),
            node("Mul", [f"{name}.float", "factor"], [f"{name}.grown"]),
            node(function, [f"{name}.grown"], [f"{name}.whole"]),
            node("Cast", [f"{name}.whole"], [f"{name}.int"], to=7),
            node("Unsqueeze", [f"{name}.int", "zero"], [name]),
        )

    source = model(
        CONV,
        node("Shape", ["y"], ["shape"]),
        *axis("two", "h"),
        *axis("three", "w_"),
        node("Min", ["h", "most"], ["h2"]),
        node("Slice", ["shape", "zero", "two_"], ["front"]),
        node("Concat", ["front", "h2", "w_"], ["sizes"], axis=0),
        node("Resize", ["y", "", "", "sizes"], ["z"], **NEAREST),
        weights={
            "w": W,
            "two": np.asarray(2, np.int64),
            "three": np.asarray(3, np.int64),
            "zero": np.asarray([0], np.int64),
            "two_": np.asarray([2], np.int64),
            "most": np.asarray([100], np.int64),
            "factor": np.asarray(2.0, np.float32),
        },
        outputs=("z",),
    )
    graph = canonicalise(import_onnx(source))
    assert [type(n) for n in graph.nodes] == [Conv, Upsample]
    same(source, graph)


def same(source: onnx.ModelProto, graph: Graph) -> None:
    x = random(1, *graph.tensors[graph.input], seed=9)
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(graph, x).outputs[0].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
