"""The part of a network that runs on the host: where it begins, and that both parts together are the model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from proprune_cli.compile.calibration import calibrate, open_session
from proprune_cli.compile.frontend import canonicalise, import_onnx
from tests.unit.onnx_nets import model, node, random

HEAD = (
    node("Conv", ["x", "w"], ["c"], name="c"),
    node("GlobalAveragePool", ["c"], ["g"]),
    node("Flatten", ["g"], ["f"]),
)
TAILS: dict[str, tuple[tuple[onnx.NodeProto, ...], int]] = {
    "softmax": ((node("Softmax", ["f"], ["y"], axis=1),), 1),
    "class": ((node("Softmax", ["f"], ["s"], axis=1), node("ArgMax", ["s"], ["y"], axis=1, keepdims=0)), 2),
    "scaled logits stay on the engine": (
        (node("Mul", ["f", "k"], ["m"]), node("Sigmoid", ["m"], ["p"]), node("LogSoftmax", ["p"], ["y"], axis=1)),
        1,
    ),
    "arithmetic after it goes along": (
        (node("Softmax", ["f"], ["s"], axis=1), node("Mul", ["s", "k"], ["m"]), node("Sub", ["m", "s"], ["y"])),
        3,
    ),
    "channels last": ((node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),), 1),
}


@pytest.mark.parametrize("case", TAILS)
def test_engine_part_and_host_part_together_are_the_model(case: str) -> None:
    nodes, hosted = TAILS[case]
    weights = {"w": random(4, 3, 3, 3), "k": np.asarray([3.0], np.float32)}
    source = model(*HEAD, *nodes, weights=weights)
    if case == "class":
        source.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    graph = canonicalise(import_onnx(source))
    tail = graph.host_tail
    assert tail is not None and len(tail.graph.node) == hosted
    x = random(3, 3, 6, 5)
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    real = calibrate(graph, x).output.reshape(3, *graph.output_shape)
    (got,) = open_session(tail.SerializeToString()).run(None, {tail.graph.input[0].name: real})
    np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-4, atol=1e-6)


def test_a_network_without_such_an_end_has_no_host_part() -> None:
    shuffle = (
        node("Reshape", ["c", "a"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "b"], ["y"]),
    )
    shapes = {"a": np.asarray([0, 2, 2, 4, 3], np.int64), "b": np.asarray([0, 4, 4, 3], np.int64)}
    graph = import_onnx(model(HEAD[0], *shuffle, weights={"w": random(4, 3, 3, 3), **shapes}))
    assert graph.host_tail is None and graph.output == "y"
