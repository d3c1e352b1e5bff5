"""Convolutions that only copy channels and add constant ones: which of them fold, and that the function stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.passes.fold_copy import FOLD_COPY, copied
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import Conv, Graph, Node
from proprune_cli.ir.nodes import Host, Select
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.window import Window

RNG = np.random.default_rng(0)


def conv(name: str, x: str, y: str, out: int, given: int, groups: int = 1) -> Conv:
    weight = RNG.normal(size=(out, given // groups, 3, 3)).astype(np.float32)
    return Conv(name, x, y, weight, RNG.normal(size=out).astype(np.float32), Window((3, 3), pads=(1, 1, 1, 1)), groups)


def copy(x: str, y: str, given: int, constants: list[float]) -> Conv:
    weight = np.zeros((given + len(constants), given, 1, 1), np.float32)
    weight[:given, :, 0, 0] = np.eye(given)
    bias = np.array([0.0] * given + constants, np.float32)
    return Conv("copy", x, y, weight, bias, Window())


def graph(*nodes: Node, output: str) -> Graph:
    channels = {"x": 4}
    for node in nodes:
        channels[node.y] = len(node.channels) if isinstance(node, Select) else len(node.weight)  # type: ignore[union-attr]
    tensors = {name: (count, 5, 5) for name, count in channels.items()}
    return Graph("g", tensors, nodes, "x", (Output(output, output, tensors[output]),))


def test_a_convolution_takes_over_the_copy_and_the_selection_behind_it() -> None:
    before = conv("conv", "x", "a", 3, 4)
    order = np.array([3, 2, 3, 0, 1], dtype=np.int64)
    (after,) = FOLD_COPY.run(
        graph(before, copy("a", "b", 3, [0.5]), Select("select", "b", "c", order), output="c")
    ).nodes
    assert isinstance(after, Conv) and after.y == "c"
    for row, source in enumerate(order):
        kept = source < 3
        np.testing.assert_array_equal(after.weight[row], before.weight[source] if kept else np.zeros((4, 3, 3)))
        assert after.bias[row] == (before.bias[source] if kept else np.float32(0.5))


def test_what_else_reads_the_survivors_keeps_the_copy() -> None:
    nodes = (conv("conv", "x", "a", 3, 4), copy("a", "b", 3, [0.0]), conv("other", "a", "c", 4, 3))
    assert len(FOLD_COPY.run(graph(*nodes, output="b")).nodes) == 3


@pytest.mark.parametrize("change", ["groups", "clamp", "output"])
def test_convolutions_that_cannot_take_it_over_stay(change: str) -> None:
    first = conv("conv", "x", "a", 4, 4, groups=4 if change == "groups" else 1)
    first = replace(first, relu=change == "clamp")
    made = graph(first, copy("a", "b", 4, [0.0]), output="a" if change == "output" else "b")
    assert len(FOLD_COPY.run(made).nodes) == 2


def test_a_copy_has_a_constant_channel_and_nothing_but_ones() -> None:
    plain = copy("a", "b", 3, [1.0])
    assert copied(plain) is not None and copied(plain).tolist() == [0, 1, 2, -1]  # type: ignore[union-attr]
    assert copied(copy("a", "b", 3, [])) is None
    assert copied(replace(plain, weight=plain.weight * 2)) is None
    assert copied(replace(plain, bias=np.ones(4, np.float32))) is None
    assert copied(replace(plain, window=Window(stride=(2, 2)))) is None


def concat_with(constant: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Concat", ["x", "planes"], ["y"], axis=1, name="join"),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 2, 2]) for n, c in (("x", 3), ("z", 5))]
    body = helper.make_graph(nodes, "g", values[:1], values[1:], [numpy_helper.from_array(constant, "planes")])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_constant_planes_join_as_filters_of_a_bias_alone() -> None:
    planes = np.broadcast_to(np.array([0.5, -1.0], np.float32).reshape(1, 2, 1, 1), (1, 2, 2, 2))
    (node,) = canonicalise(import_onnx(concat_with(np.ascontiguousarray(planes)))).nodes
    assert isinstance(node, Conv) and node.bias.tolist() == [0, 0, 0, 0.5, -1]


def test_planes_that_change_are_joined_by_the_host() -> None:
    (step, _) = import_onnx(concat_with(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2))).nodes
    assert isinstance(step, Host) and step.operators == ("Concat",)


def test_planes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="planes"):
        import_onnx(concat_with(np.arange(2, dtype=np.float32).reshape(1, 2, 1, 1)))
