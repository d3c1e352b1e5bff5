"""Nodes that the engine cannot run become steps of the host, with those around them where need be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.ir.nodes import Host
from tests.unit.compile.onnx_nets import model, node, pool_model, random

STEPS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[str, ...]]] = {
    "average over partial windows": (
        lambda: pool_model("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1),
        ("AveragePool",),
    ),
    "dilated and padded as if it were not": (
        lambda: pool_model("MaxPool", kernel_shape=[3, 3], dilations=[2, 2], auto_pad="SAME_UPPER"),
        ("MaxPool",),
    ),
    "maximum over channels": (lambda: model(node("ReduceMax", ["x"], ["y"], axes=[1])), ("ReduceMax",)),
    "broadcast of rows": (
        lambda: model(node("ReduceMean", ["x"], ["g"], axes=[3]), node("Add", ["x", "g"], ["y"])),
        ("Add",),
    ),
    "division of activations": (lambda: model(node("Sigmoid", ["x"], ["s"]), node("Div", ["x", "s"], ["y"])), ("Div",)),
    "flipped image": (
        lambda: model(
            node("Slice", ["x", "i", "j", "a", "s"], ["y"]),
            weights={n: np.asarray([v], np.int64) for n, v in (("i", -1), ("j", -9), ("a", 3), ("s", -1))},
        ),
        ("Slice",),
    ),
    "slope per pixel": (lambda: model(node("PRelu", ["x", "k"], ["y"]), weights={"k": random(3, 6, 5)}), ("PRelu",)),
    "transposition of pixels": (
        lambda: model(
            node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2], name="t"),
            node("Conv", ["t", "w"], ["y"]),
            weights={"w": random(2, 3, 1, 1)},
        ),
        ("Transpose",),
    ),
    "the place of the maximum in the middle": (
        lambda: model(
            node("ArgMax", ["x"], ["a"], axis=1),
            node("Cast", ["a"], ["s"], to=1),
            node("Conv", ["s", "w"], ["y"]),
            weights={"w": random(2, 1, 1, 1)},
        ),
        ("ArgMax", "Cast"),
    ),
    "a grid of coordinates beside the image": (
        lambda: model(node("Concat", ["x", "k"], ["y"], axis=1), weights={"k": random(1, 2, 6, 5)}),
        ("Concat",),
    ),
    "a grid before the image, on one side longer": (
        lambda: model(node("Concat", ["k", "x", "k"], ["y"], axis=-1), weights={"k": random(1, 3, 6, 2)}),
        ("Concat",),
    ),
    "matrix product on an image": (
        lambda: model(node("MatMul", ["x", "w"], ["y"]), weights={"w": random(5, 2)}),
        ("MatMul",),
    ),
    "channel mean after flatten": (
        lambda: model(
            node("Flatten", ["x"], ["f"]), node("Add", ["f", "k"], ["y"], name="p"), weights={"k": random(90)}
        ),
        ("Flatten",),
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_a_step_of_the_host_computes_what_the_model_does(case: str) -> None:
    build, operators = STEPS[case]
    source = build()
    graph = canonicalise(import_onnx(source))
    assert [n.operators for n in graph.nodes if isinstance(n, Host)] == [operators]
    x = random(1, *graph.tensors[graph.input])
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(graph, x).outputs[0].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reader", ["Conv", "GlobalMaxPool", "Concat"])
def test_another_division_of_the_axes_is_made_by_the_host(reader: str) -> None:
    """Same channel count, other height and width: only the declared shapes tell."""
    inputs = {"Conv": ["a", "w"], "GlobalMaxPool": ["a"], "Concat": ["a", "a"]}[reader]
    attributes = {"axis": 1} if reader == "Concat" else {}
    weights = {"t": np.asarray([0, 3, 10, 3], np.int64), "w": random(2, 3, 1, 1)}
    nodes = (node("Reshape", ["x", "t"], ["a"]), node(reader, inputs, ["y"], name="r", **attributes))
    source = model(*nodes, weights=weights)
    graph = canonicalise(import_onnx(source))
    assert [n.operators for n in graph.nodes if isinstance(n, Host)] == [("Reshape",)]
    x = random(3, 3, 6, 5)
    wanted = np.asarray(open_session(source.SerializeToString()).run(None, {"x": x})[0])
    np.testing.assert_allclose(calibrate(graph, x).outputs[0].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)


def test_a_grid_follows_every_image_of_a_batch() -> None:
    source = model(
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Concat", ["c", "k"], ["d"], axis=1),
        node("Conv", ["d", "v"], ["y"]),
        weights={"w": random(4, 3, 3, 3), "k": random(1, 2, 6, 5, seed=1), "v": random(5, 6, 1, 1)},
    )
    images = random(3, 3, 6, 5)
    session = open_session(source.SerializeToString())
    wanted = np.concatenate([np.asarray(session.run(None, {"x": image[None]})[0]) for image in images])
    got = calibrate(canonicalise(import_onnx(source)), images).outputs[0]
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
