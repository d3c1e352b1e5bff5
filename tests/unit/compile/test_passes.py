"""Each pass does what its docstring says, keeps the function, and leaves the cases it names alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.passes.drop_reshape import DROP_RESHAPE
from proprune_cli.compile.passes.fold_affine import FOLD_AFFINE
from proprune_cli.compile.passes.fuse_relu import FUSE_RELU
from proprune_cli.compile.passes.pipeline import CANONICAL, run_passes
from proprune_cli.compile.passes.split_stride import SPLIT_STRIDE
from proprune_cli.compile.quantise.calibration import calibrate, open_session, run_session
from proprune_cli.ir.graph import Activation, Affine, Conv, ConvTranspose, Pad
from proprune_cli.ir.nodes import Add, Concat, Host, MaxPool, Mul, Relu, Select, Upsample
from proprune_cli.ir.verify import InvariantError
from tests.strategies import random_network
from tests.unit.compile.onnx_nets import model, node, random

CANONICAL_KINDS = {Conv, ConvTranspose, MaxPool, Add, Mul, Relu, Activation, Concat, Select, Pad, Upsample, Host}
BN = {name: np.abs(random(4, seed=i)) + 0.5 for i, name in enumerate("gbmv")}


def kinds(source: onnx.ModelProto) -> list[str]:
    return [type(n).__name__ for n in canonicalise(import_onnx(source)).nodes]


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(random_network(grouped=True))
def test_the_canonical_graph_computes_what_the_model_does(case: tuple[onnx.ModelProto, NDArray[np.float32]]) -> None:
    source, x = case
    graph = canonicalise(import_onnx(source))
    assert {type(n) for n in graph.nodes} <= CANONICAL_KINDS
    session = open_session(source.SerializeToString(), optimise=False, threads=1)
    values = run_session(session, [output.name for output in graph.outputs], {"x": x})
    for output, wanted, got in zip(graph.outputs, values, calibrate(graph, x).outputs, strict=True):
        assert output.shape == wanted.shape[1:]
        atol = 1e-4 * np.abs(wanted).max(initial=1)
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-3, atol=atol, err_msg=output.name)


def test_batch_norm_folds_into_its_convolution() -> None:
    source = model(
        node("Conv", ["x", "w"], ["a"]),
        node("BatchNormalization", ["a", *"gbmv"], ["n"]),
        node("Relu", ["n"], ["y"]),
        weights={"w": random(4, 3, 3, 3), **BN},
    )
    graph = canonicalise(import_onnx(source))
    assert len(graph.nodes) == 1 and isinstance(graph.nodes[0], Conv) and graph.nodes[0].relu
    scale = BN["g"] / np.sqrt(BN["v"] + 1e-5)
    np.testing.assert_allclose(graph.nodes[0].bias, BN["b"] - BN["m"] * scale, rtol=1e-5)


def test_batch_norm_of_a_shared_tensor_stays_a_layer() -> None:
    source = model(
        node("Conv", ["x", "w"], ["a"]),
        node("BatchNormalization", ["a", *"gbmv"], ["n"]),
        node("Add", ["a", "n"], ["y"]),
        weights={"w": random(4, 3, 3, 3), **BN},
    )
    graph = canonicalise(import_onnx(source))
    assert [type(n) for n in graph.nodes] == [Conv, Conv, Add]
    second = graph.nodes[1]
    assert isinstance(second, Conv) and second.groups == 4 and second.weight.shape == (4, 1, 1, 1)


def test_a_relu_whose_input_is_shared_stays() -> None:
    shared = model(node("Add", ["x", "x"], ["a"]), node("Relu", ["a"], ["r"]), node("Add", ["a", "r"], ["y"]))
    assert kinds(shared) == ["Add", "Relu", "Add"]
    alone = model(node("Add", ["x", "x"], ["a"]), node("Relu", ["a"], ["r"]), node("Relu", ["r"], ["y"]))
    assert kinds(alone) == ["Add"]


def test_a_relu_of_the_input_stays_and_one_after_max_pooling_fuses() -> None:
    source = model(
        node("Relu", ["x"], ["r"]), node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2]), node("Relu", ["m"], ["y"])
    )
    assert kinds(source) == ["Relu", "MaxPool"]


def test_a_flatten_disappears_and_the_fully_connected_layer_reads_the_image() -> None:
    source = model(
        node("Flatten", ["x"], ["f"]),
        node("Dropout", ["f"], ["d"]),
        node("MatMul", ["d", "w"], ["m"]),
        node("Add", ["m", "k"], ["y"]),
        weights={"w": random(90, 4), "k": random(4)},
    )
    graph = canonicalise(import_onnx(source))
    assert [type(n) for n in graph.nodes] == [Conv]
    only = graph.nodes[0]
    assert isinstance(only, Conv) and only.weight.shape == (4, 3, 6, 5) and graph.tensors[only.y] == (4, 1, 1)
    np.testing.assert_array_equal(only.bias, random(4))
    assert graph.outputs[0].shape == (4,)


def test_padding_moves_into_what_reads_it() -> None:
    """The older exporter writes AvgPool2d with padding as Pad and AveragePool."""
    pads = {"p": np.asarray([0, 0, 1, 2, 0, 0, 3, 4], np.int64)}
    average = model(
        node("Pad", ["x", "p"], ["a"]), node("AveragePool", ["a"], ["y"], kernel_shape=[5, 5]), weights=pads
    )
    pooled = canonicalise(import_onnx(average)).nodes[0]
    assert isinstance(pooled, Conv) and pooled.window.pads == (1, 2, 3, 4)
    # The padding of a maximum never wins; these zeros may.
    maximum = model(node("Pad", ["x", "p"], ["a"]), node("MaxPool", ["a"], ["y"], kernel_shape=[5, 5]), weights=pads)
    assert kinds(maximum) == ["Pad", "MaxPool"]


def test_a_pass_may_not_run_before_what_it_requires() -> None:
    graph = import_onnx(model(node("Relu", ["x"], ["y"])))
    with pytest.raises(InvariantError, match="fold-affine runs before"):
        run_passes(graph, (FOLD_AFFINE,))
    with pytest.raises(InvariantError, match="drop-reshape runs before"):
        run_passes(graph, (DROP_RESHAPE,))


def test_the_canonical_order_meets_every_requirement() -> None:
    gone: set[object] = set()
    for step in CANONICAL:
        assert set(step.requires) <= gone, step.name
        gone |= set(step.ensures)
    assert Affine in gone and CANONICAL[-2:] == (FUSE_RELU, SPLIT_STRIDE)


def test_activations_written_as_several_nodes_become_one() -> None:
    three, low, high, six = (np.asarray(v, np.float32) for v in (3, 0, 6, 6))
    shifted = (node("Add", ["x", "three"], ["s"]), node("Clip", ["s", "low", "high"], ["c"]))
    weights = {"three": three, "low": low, "high": high, "six": six}
    spellings = {
        "Silu": (node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["y"])),
        "HardSigmoid": (*shifted, node("Div", ["c", "six"], ["y"])),
        "HardSwish": (*shifted, node("Mul", ["x", "c"], ["m"]), node("Div", ["m", "six"], ["y"])),
        "Mish": (node("Softplus", ["x"], ["p"]), node("Tanh", ["p"], ["t"]), node("Mul", ["x", "t"], ["y"])),
    }
    for op, nodes in spellings.items():
        graph = canonicalise(import_onnx(model(*nodes, weights=weights)))
        assert [getattr(n, "op", type(n).__name__) for n in graph.nodes] == [op]
    divided_first = (*shifted, node("Div", ["c", "six"], ["d"]), node("Mul", ["d", "x"], ["y"]))
    (only,) = canonicalise(import_onnx(model(*divided_first, weights=weights))).nodes
    assert isinstance(only, Activation) and only.op == "HardSwish"


def test_a_gate_that_something_else_reads_stays() -> None:
    source = model(node("Sigmoid", ["x"], ["s"]), node("Mul", ["s", "x"], ["m"]), node("Add", ["m", "s"], ["y"]))
    assert sorted(kinds(source)) == ["Activation", "Activation", "Add"]


def test_a_channel_shuffle_is_a_selection_and_selections_merge() -> None:
    nodes = (
        node("Reshape", ["x", "a"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "b"], ["s"]),
        node("Split", ["s"], ["p", "q"], axis=1),
        node("Conv", ["q", "w"], ["y"]),
    )
    shapes = {"a": np.asarray([0, 2, 3, 4, 4], np.int64), "b": np.asarray([0, 6, 4, 4], np.int64)}
    graph = canonicalise(import_onnx(model(*nodes, weights={"w": random(2, 3, 1, 1), **shapes}, image=(6, 4, 4))))
    select, conv = graph.nodes
    assert isinstance(select, Select) and isinstance(conv, Conv)
    assert select.x == "x" and select.channels.tolist() == [4, 2, 5]


def test_a_change_of_layout_that_is_undone_disappears() -> None:
    nodes = (
        node("Transpose", ["x"], ["a"], perm=[0, 2, 3, 1]),
        node("Reshape", ["a", "s"], ["b"]),
        node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        node("Reshape", ["c", "t"], ["d"]),
        node("Conv", ["d", "w"], ["y"]),
    )
    shapes = {"s": np.asarray([0, 30, 3], np.int64), "t": np.asarray([0, 3, 6, 5], np.int64)}
    assert kinds(model(*nodes, weights={"w": random(2, 3, 1, 1), **shapes})) == ["Conv"]


def test_batch_norm_folds_into_a_grouped_transposed_convolution() -> None:
    source = model(
        node("ConvTranspose", ["x", "w"], ["a"], group=2, strides=[2, 1]),
        node("BatchNormalization", ["a", *"gbmv"], ["n"]),
        node("Relu", ["n"], ["y"]),
        weights={"w": random(4, 2, 3, 2), **BN},
        image=(4, 6, 5),
    )
    graph = canonicalise(import_onnx(source))
    (only,) = graph.nodes
    assert isinstance(only, ConvTranspose) and only.relu
    x = random(2, 4, 6, 5)
    (wanted,) = open_session(source.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(calibrate(graph, x).outputs[0], np.asarray(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (4, 2, 1)])
def test_an_average_without_its_padding(kernel: int, stride: int, pads: int) -> None:
    window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pads] * 4}
    source = model(node("AveragePool", ["x"], ["y"], count_include_pad=0, **window), image=(3, 9, 8))
    graph = canonicalise(import_onnx(source))
    x = random(2, 3, 9, 8)
    (wanted,) = open_session(source.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(calibrate(graph, x).outputs[0], np.asarray(wanted), rtol=1e-4, atol=1e-5)
