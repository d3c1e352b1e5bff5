"""What ONNX nodes become in the float graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.ir.graph import AveragePool, Gemm
from proprune_cli.ir.nodes import MaxPool
from tests.unit.compile.onnx_nets import model, node, pool_model, random, refused


def test_an_unsupported_node_beside_the_output_does_not_matter() -> None:
    assert len(import_onnx(model(node("LRN", ["x"], ["z"], size=3), node("Relu", ["x"], ["y"]))).nodes) == 1


def test_an_output_that_does_not_depend_on_the_input() -> None:
    refused(InputError, model(node("Identity", ["w"], ["y"]), weights={"w": random(1)}), "does not depend")


def test_a_network_without_layers() -> None:
    refused(UnsupportedError, model(node("Identity", ["x"], ["y"])), "no layer")


def test_nodes_without_names_get_unique_ones() -> None:
    graph = import_onnx(model(node("Relu", ["x"], ["a"], name="r"), node("Relu", ["a"], ["y"], name="r")))
    assert [n.name for n in graph.nodes] == ["r", "r.1"]


def test_a_flatten_written_as_a_chain_of_shapes() -> None:
    """What the older exporter writes for ``x.view(x.size(0), -1)``."""
    nodes = (
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "begin", "end"], ["n"]),
        node("Squeeze", ["n", "begin"], ["q"]),
        node("Unsqueeze", ["q", "begin"], ["u"]),
        node("Concat", ["u", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    )
    numbers = {"begin": np.asarray([0], np.int64), "end": np.asarray([1], np.int64), "rest": np.asarray([-1], np.int64)}
    for batch in ("N", 4):
        assert import_onnx(model(*nodes, weights=numbers, batch=batch)).outputs[0].shape == (90,)


@pytest.mark.parametrize(
    ("target", "batch"), [([0, -1], "N"), ([-1, 90], "N"), ([1, 90], "N"), ([5, 90], 5), ([5, -1], 5)]
)
def test_reshapes_that_flatten(target: list[int], batch: Any) -> None:
    reshape = model(node("Reshape", ["x", "t"], ["y"]), weights={"t": np.asarray(target, np.int64)}, batch=batch)
    assert import_onnx(reshape).outputs[0].shape == (90,)


@pytest.mark.parametrize("target", [[-1], [30, -1], [0, 91]])
def test_reshapes_that_mix_images(target: list[int]) -> None:
    reshape = model(node("Reshape", ["x", "t"], ["y"]), weights={"t": np.asarray(target, np.int64)})
    refused(UnsupportedError, reshape, "Reshape", str(target))


def test_another_shape_is_welcome_at_the_output_and_where_the_order_is_enough() -> None:
    nodes = (node("Reshape", ["x", "t"], ["a"]), node("Tanh", ["a"], ["y"]))
    graph = canonicalise(import_onnx(model(*nodes, weights={"t": np.asarray([0, 9, 10], np.int64)})))
    assert graph.outputs[0].shape == (9, 10) and graph.tensors[graph.outputs[0].tensor] == (3, 6, 5)


def test_auto_pad_and_ceil_mode_become_explicit() -> None:
    same = import_onnx(pool_model("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")).nodes[0]
    assert isinstance(same, MaxPool) and same.window.pads == (1, 0, 1, 1)
    ceil = import_onnx(pool_model("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)).nodes[0]
    assert isinstance(ceil, MaxPool) and ceil.window.pads == (0, 0, 1, 0)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    ("axes", "keepdims", "shape"), [([2, 3], 0, (3,)), ([-1, -2], 1, (3, 1, 1)), ([3], 1, (3, 6, 1))]
)
def test_means_over_space_in_both_spellings(opset: int, axes: list[int], keepdims: int, shape: tuple[int, ...]) -> None:
    as_input = opset >= 18
    mean = (
        node("ReduceMean", ["x", "a"], ["y"], keepdims=keepdims)
        if as_input
        else node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=keepdims)
    )
    graph = import_onnx(model(mean, weights={"a": np.asarray(axes, np.int64)} if as_input else {}, opset=opset))
    assert isinstance(graph.nodes[0], AveragePool) and graph.outputs[0].shape == shape


def test_gemm_takes_alpha_beta_and_transposition_into_its_weights() -> None:
    nodes = (node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "c"], ["y"], alpha=2.0, beta=3.0))
    weight, bias = random(90, 4), random(1, 4)
    gemm = import_onnx(model(*nodes, weights={"w": weight, "c": bias})).nodes[1]
    assert isinstance(gemm, Gemm)
    np.testing.assert_array_equal(gemm.weight, 2 * weight.T)
    np.testing.assert_array_equal(gemm.bias, 3 * bias[0])
