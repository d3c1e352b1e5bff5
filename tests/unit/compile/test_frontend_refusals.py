"""Nodes that neither the engine nor the host runs are refused by name, with the rule and what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from proprune_cli.errors import ExitCode, UnsupportedError
from tests.unit.compile.onnx_nets import model, node, pool_model, random, refused


def test_an_unknown_operator_is_named_with_its_node() -> None:
    error = refused(
        UnsupportedError,
        model(node("Det", ["x"], ["y"], name="norm")),
        "Det",
        "'norm'",
        "supported-operators.md",
    )
    assert error.exit_code == ExitCode.UNSUPPORTED == 3


def test_an_operator_of_another_domain() -> None:
    refused(UnsupportedError, model(node("Relu", ["x"], ["y"], domain="com.example")), "com.example")


def _resize(scales: list[float], **attributes: Any) -> onnx.ModelProto:
    weights = {"roi": np.zeros(0, np.float32), "k": np.asarray(scales, np.float32)}
    return model(node("Resize", ["x", "roi", "k"], ["y"], **attributes), weights=weights)


def _transposed(**attributes: Any) -> onnx.ModelProto:
    return model(node("ConvTranspose", ["x", "w"], ["y"], **attributes), weights={"w": random(3, 2, 3, 3)})


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "average in the padding alone": (
        lambda: pool_model("AveragePool", kernel_shape=[2, 2], strides=[3, 3], pads=[2, 2, 0, 0]),
        "count_include_pad",
    ),
    "maximum with indices": (
        lambda: model(
            node("MaxPool", ["x"], ["m", "i"], kernel_shape=[2, 2]), node("Add", ["m", "i"], ["y"]), image=(3, 7, 8)
        ),
        "indices",
    ),
    "kernel too large": (lambda: pool_model("MaxPool", kernel_shape=[9, 2]), "9x2"),
    "one-dimensional kernel": (lambda: pool_model("MaxPool", kernel_shape=[2]), "[2]"),
    "training batch norm": (
        lambda: model(
            node("BatchNormalization", ["x", "a", "a", "a", "a"], ["y"], training_mode=1),
            weights={"a": np.ones(3, np.float32)},
            opset=14,
        ),
        "model.eval()",
    ),
    "negative variance": (
        lambda: model(
            node("BatchNormalization", ["x", "a", "a", "a", "v"], ["y"]),
            weights={"a": np.ones(3, np.float32), "v": -np.ones(3, np.float32)},
        ),
        "variance",
    ),
    "weight computed at run time": (lambda: model(node("Conv", ["x", "x"], ["y"], kernel_shape=[3, 3])), "run time"),
    "division by zero": (
        lambda: model(node("Div", ["x", "k"], ["y"]), weights={"k": np.zeros((), np.float32)}),
        "a divisor of 0",
    ),
    "concatenation of images": (lambda: model(node("Concat", ["x", "x"], ["y"], axis=0)), "axis 0"),
    "concatenation with constants of several images": (
        lambda: model(node("Concat", ["x", "k"], ["y"], axis=1), weights={"k": random(2, 3, 6, 5)}, batch=2),
        "'k' is a constant",
    ),
    "slice of the batch": (
        lambda: model(
            node("Slice", ["x", "i", "j", "a"], ["y"]),
            weights={n: np.asarray([v], np.int64) for n, v in (("i", 1), ("j", 2), ("a", 0))},
            batch=4,
        ),
        "axis 0 from 1",
    ),
    "empty slice": (
        lambda: model(
            node("Slice", ["x", "i", "j", "a"], ["y"]),
            weights={n: np.asarray([v], np.int64) for n, v in (("i", 2), ("j", 2), ("a", 1))},
        ),
        "nothing is left along axis 1",
    ),
    "split that does not fill": (
        lambda: model(node("Split", ["x", "k"], ["y", "z"], axis=1), weights={"k": np.asarray([1, 1], np.int64)}),
        "parts of [1, 1] along an axis of 3",
    ),
    "upsampling of the batch": (lambda: _resize([2, 1, 1, 1]), "scales ['2', '1', '1', '1']"),
    "cubic upsampling of channels": (lambda: _resize([1, 2, 2, 2], mode="cubic"), "nor can the host run it"),
    "an image too large for any host": (
        lambda: _resize([1, 1, 2000, 2000], mode="linear"),
        "at most 67108864 elements",
    ),
    "statistics over the batch": (
        lambda: model(node("MeanVarianceNormalization", ["x"], ["n"]), node("Selu", ["n"], ["y"])),
        "it mixes them",
    ),
    "output shape of a transposed convolution": (
        lambda: _transposed(output_shape=[12, 12]),
        "output_shape [12, 12]",
    ),
    "output padding of the stride": (
        lambda: _transposed(strides=[2, 2], output_padding=[2, 0]),
        "output_padding [2, 0]",
    ),
    "transposed convolution cut to nothing": (lambda: _transposed(pads=[4, 1, 4, 1]), "leave 0x5"),
    "a host part that reads the image": (
        lambda: model(
            node("Tanh", ["x"], ["a"]),
            node("ArgMax", ["a"], ["s"], axis=1),
            node("Cast", ["s"], ["f"], to=1),
            node("Mul", ["f", "x"], ["y"]),
        ),
        "nothing before it is left for the engine",
    ),
    "nothing but a host part": (lambda: model(node("Softmax", ["x"], ["y"], axis=1)), "left for the engine"),
    "transposed input": (
        lambda: model(
            node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], transA=1), weights={"w": random(90, 2)}
        ),
        "transA=1",
    ),
    "flatten of the batch": (lambda: model(node("Flatten", ["x"], ["y"], axis=0)), "axis 0"),
    "padding of an unknown mode": (
        lambda: model(node("Pad", ["x", "p"], ["y"], mode="mirror"), weights={"p": np.zeros(8, np.int64)}),
        "mode mirror",
    ),
    "groups that do not divide": (
        lambda: model(node("Conv", ["x", "w"], ["y"], group=2), weights={"w": random(4, 3, 1, 1)}),
        "group 2",
    ),
    "training dropout": (
        lambda: model(node("Dropout", ["x", "r", "t"], ["y"]), weights={"r": random(), "t": np.asarray(True)}),
        "model.eval()",
    ),
}


AT_THE_END: dict[str, tuple[tuple[onnx.NodeProto, ...], str]] = {
    "more multiplications than the engine": (
        (
            node("Reshape", ["c", "t"], ["r"]),
            node("MatMul", ["r", "wide"], ["p"], name="first"),
            node("MatMul", ["p", "narrow"], ["y"]),
        ),
        # 4 x 12 x 3000 + 4 x 3000 x 30, and 12 pixels of 4 filters of 27 weights.
        "that would be 504000 multiplications on the host, and 1296 on the engine",
    ),
    "a result without a batch": (
        (node("Transpose", ["c"], ["y"], perm=[1, 0, 2, 3]),),
        "must have the batch as its first axis; here: [4, 1, 4, 3]",
    ),
    "images mixed": (
        (node("ReduceMean", ["c"], ["m"], axes=[0, 2]), node("Sub", ["c", "m"], ["y"])),
        "must depend on one image alone",
    ),
    "training": ((node("Dropout", ["c", "share", "yes"], ["y"]),), "model.eval()"),
    "something else each time": (
        (node("RandomNormalLike", ["c"], ["noise"]), node("Add", ["c", "noise"], ["y"])),
        "RandomNormalLike",
    ),
    "no fixed size": ((node("NonZero", ["c"], ["y"]),), "no rule for this operator"),
    "another type": ((node("BitShift", ["c", "c"], ["y"], direction="LEFT"),), "nor can the host run it"),
}


@pytest.mark.parametrize("case", AT_THE_END)
def test_what_the_hosts_end_cannot_hold_is_refused_with_its_reason(case: str) -> None:
    nodes, reason = AT_THE_END[case]
    stored = {
        "w": random(4, 3, 3, 3),
        "t": np.asarray([0, 4, 12], np.int64),
        "wide": random(12, 3000),
        "narrow": random(3000, 30),
        "share": np.asarray(0.5, np.float32),
        "yes": np.asarray(True),
    }
    read = {"w", *(name for proto in nodes for name in proto.input)}
    weights = {name: value for name, value in stored.items() if name in read}
    refused(UnsupportedError, model(node("Conv", ["x", "w"], ["c"]), *nodes, weights=weights), reason, "node '")


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_with_its_reason(case: str) -> None:
    build, reason = REFUSED[case]
    refused(UnsupportedError, build(), reason, "node '")
