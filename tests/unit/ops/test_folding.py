"""Nodes between constants are evaluated on import: the very values that ONNX Runtime gives for the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from proprune_cli.errors import UnsupportedError
from proprune_cli.ops import evaluate
from proprune_cli.ops.folding import fold
from proprune_cli.ops.importing import NodeView

Constants = dict[str, NDArray[Any]]

node = onnx.helper.make_node


def folded(proto: onnx.NodeProto, constants: Constants, opset: int = 18) -> Constants | None:
    names = frozenset(proto.output)
    return fold(NodeView(proto, "n", opset, 1, {}, constants, names))


def defined(proto: onnx.NodeProto, constants: Constants, opset: int = 18) -> list[NDArray[Any]]:
    """By the evaluator of the onnx package."""
    from onnx.reference import ReferenceEvaluator

    inputs = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in constants.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output]
    body = onnx.helper.make_graph([proto], "g", inputs, outputs)
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, constants)]


def ints(*values: int) -> NDArray[np.int64]:
    return np.asarray(values, np.int64)


def floats(*values: float) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


W = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
A, B = ints(-7, 7, -8, 9, 0), ints(2, -2, 3, 4, -5)
F = floats(-2.5, -0.5, 0.5, 1.5, 2.4)
AXES = ints(1, 2, 3)

CASES: dict[str, tuple[onnx.NodeProto, Constants]] = {
    **{
        f"{op} of {kind}": (node(op, ["a", "b"], ["y"]), {"a": a, "b": b})
        for op in ("Add", "Sub", "Mul", "Div", "Equal", "Max", "Min", "Less", "Greater")
        for kind, a, b in (("integers", A, B), ("numbers", F, F[::-1].copy()))
    },
    **{
        f"{op} of numbers": (node(op, ["a"], ["y"]), {"a": F})
        for op in ("Floor", "Ceil", "Round", "Abs", "Sign", "Neg", "Exp", "Sigmoid", "Not", "Softplus")
        if op != "Not"
    },
    "Floor of one number": (node("Floor", ["a"], ["y"]), {"a": floats(2.5)[0]}),
    "Max of one number": (node("Max", ["a", "b"], ["y"]), {"a": ints(2)[0], "b": ints(3)[0]}),
    "Round of a transposed array": (node("Round", ["a"], ["y"]), {"a": W[0, 0].T * 3}),
    "Mod": (node("Mod", ["a", "b"], ["y"]), {"a": A, "b": B}),
    "Mod as in C": (node("Mod", ["a", "b"], ["y"], fmod=1), {"a": A, "b": B}),
    "Pow": (node("Pow", ["a", "b"], ["y"]), {"a": np.abs(F), "b": floats(2)}),
    "Pow of integers": (node("Pow", ["a", "b"], ["y"]), {"a": A, "b": ints(2)}),
    "Range backwards": (node("Range", ["a", "b", "c"], ["y"]), {"a": ints(7)[0], "b": ints(-2)[0], "c": ints(-3)[0]}),
    "Range of fractions": (
        node("Range", ["a", "b", "c"], ["y"]),
        {"a": floats(0.5)[0], "b": floats(4)[0], "c": floats(1)[0]},
    ),
    "Where": (node("Where", ["a", "b", "c"], ["y"]), {"a": A > 0, "b": A, "c": B}),
    "Cast towards zero": (node("Cast", ["a"], ["y"], to=7), {"a": F}),
    "ReduceL2": (node("ReduceL2", ["w", "a"], ["y"]), {"w": W, "a": AXES}),
    "ReduceSum": (node("ReduceSum", ["w", "a"], ["y"], keepdims=0), {"w": W, "a": AXES}),
    "ReduceProd": (node("ReduceProd", ["a"], ["y"], keepdims=0), {"a": A}),
    "Sqrt": (node("Sqrt", ["a"], ["y"]), {"a": np.abs(F)}),
    "LpNormalization": (node("LpNormalization", ["w"], ["y"], axis=1), {"w": W}),
    "MatMul": (node("MatMul", ["a", "b"], ["y"]), {"a": W[0, 0], "b": W[1, 0]}),
    "Pad": (node("Pad", ["w", "p"], ["y"]), {"w": W, "p": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "Split": (node("Split", ["w", "s"], ["y", "z"], axis=0), {"w": W, "s": ints(1, 3)}),
    "TopK": (node("TopK", ["a", "k"], ["y", "z"]), {"a": F, "k": ints(2)}),
    "Einsum": (node("Einsum", ["a", "b"], ["y"], equation="ij,kj->ik"), {"a": W[0, 0], "b": W[1, 1]}),
    "OneHot": (node("OneHot", ["a", "d", "v"], ["y"]), {"a": ints(0, 2, 1), "d": ints(3)[0], "v": floats(0, 1)}),
    "Trilu": (node("Trilu", ["w"], ["y"], upper=0), {"w": W[0, 0]}),
    "ScatterND": (
        node("ScatterND", ["w", "i", "u"], ["y"]),
        {"w": W[0, 0], "i": np.asarray([[1]], np.int64), "u": floats(1, 2, 3)[None]},
    ),
    "NonZero": (node("NonZero", ["a"], ["y"]), {"a": A}),
    "DequantizeLinear": (
        node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=0),
        {"q": (W * 50).astype(np.int8), "s": floats(0.5, 0.25, 1, 2), "z": np.asarray([0, 1, -3, 0], np.int8)},
    ),
    "QuantizeLinear": (
        node("QuantizeLinear", ["w", "s", "z"], ["y"]),
        {"w": W, "s": floats(0.05)[0], "z": np.asarray(3, np.int8)},
    ),
    "Conv": (node("Conv", ["w", "v"], ["y"]), {"w": W, "v": W[:2]}),
    "Size": (node("Size", ["w"], ["y"]), {"w": W}),
    "LayerNormalization": (node("LayerNormalization", ["w", "s"], ["y"], axis=-1), {"w": W, "s": floats(1, 2, 3)}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_node_between_constants_has_the_value_of_its_definition(case: str) -> None:
    proto, constants = CASES[case]
    opset = 19 if proto.op_type.endswith("Linear") else 18  # the first that the definition is written for
    got = folded(proto, constants, opset)
    assert got is not None and list(got) == list(proto.output)
    for name, wanted in zip(proto.output, defined(proto, constants, opset), strict=True):
        assert got[name].dtype == wanted.dtype and got[name].shape == wanted.shape
        np.testing.assert_allclose(got[name], wanted, rtol=1e-5, atol=1e-6)


def test_integers_are_divided_towards_zero() -> None:
    got = folded(node("Div", ["a", "b"], ["y"]), {"a": A, "b": B})
    assert got is not None and got["y"].tolist() == [int(a / b) for a, b in zip(A.tolist(), B.tolist(), strict=True)]


def test_what_gives_something_else_each_time_stays() -> None:
    for op in sorted(evaluate.RANDOM):
        assert folded(node(op, ["a"], ["y"]), {"a": np.abs(F) / 4}) is None
    training = {"a": F, "r": np.asarray(0.5, np.float32), "t": np.asarray(True)}
    assert folded(node("Dropout", ["a", "r", "t"], ["y"]), training) is None


def test_activations_stay() -> None:
    proto = node("Floor", ["a"], ["y"])
    assert fold(NodeView(proto, "n", 18, 1, {"a": (3, 4, 4)}, {}, frozenset("y"))) is None


ROW, COLUMN = np.zeros((1, 1 << 17), np.float32), np.zeros((1 << 17, 1), np.float32)
TOO_LARGE: dict[str, tuple[onnx.NodeProto, Constants]] = {
    **{
        f"broadcast {op}": (node(op, ["a", "b"], ["y"]), {"a": ROW, "b": COLUMN})
        for op in ("Add", "Mul", "Div", "Equal", "Mod", "Max", "Pow")
    },
    "Where": (node("Where", ["c", "a", "b"], ["y"]), {"c": np.asarray(True), "a": ROW, "b": COLUMN}),
    "outer product": (node("MatMul", ["b", "a"], ["y"]), {"a": ROW, "b": COLUMN}),
    "Gather": (node("Gather", ["a", "i"], ["y"]), {"a": ROW, "i": np.zeros(1 << 12, np.int64)}),
    "Tile": (node("Tile", ["a", "i"], ["y"]), {"a": ROW, "i": ints(1 << 12, 1)}),
    "Pad": (node("Pad", ["a", "p"], ["y"]), {"a": ROW, "p": ints(1 << 40, 0, 0, 0)}),
    "OneHot": (
        node("OneHot", ["i", "d", "v"], ["y"]),
        {"i": np.zeros(1 << 12, np.int64), "d": ints(1 << 40), "v": floats(0, 1)},
    ),
    "Range": (node("Range", ["a", "b", "c"], ["y"]), {"a": ints(0)[0], "b": ints(1 << 40)[0], "c": ints(1)[0]}),
    "EyeLike of what was expanded": (node("Expand", ["a", "i"], ["y"]), {"a": floats(1), "i": ints(1 << 20, 1 << 20)}),
    "Resize": (
        node("Resize", ["w", "", "s"], ["y"]),
        {"w": W, "s": floats(1, 1, 1 << 20, 1 << 20)},
    ),
    "matrix product": (
        node("MatMul", ["a", "b"], ["y"]),
        {"a": np.zeros((1 << 12, 1 << 12), np.float32), "b": np.zeros((1 << 12, 1 << 12), np.float32)},
    ),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_constants_that_would_be_too_large_are_refused_before_they_are_made(case: str) -> None:
    proto, constants = TOO_LARGE[case]
    with pytest.raises(UnsupportedError) as caught:
        folded(proto, constants)
    assert "'n'" in caught.value.what and proto.op_type in caught.value.what and caught.value.remedy


def test_constants_that_do_not_fit_are_refused_by_name() -> None:
    for proto, constants in (
        (node("MatMul", ["a", "b"], ["y"]), {"a": W[0, 0], "b": F}),
        (node("Max", ["a", "b"], ["y"]), {"a": F, "b": floats(1, 2)}),
        (node("Floor", ["a"], ["y"]), {"a": np.asarray(["x"], object)}),
    ):
        with pytest.raises(UnsupportedError, match="do not fit together"):
            folded(proto, constants)
