"""Reading ONNX files: damage, types, inputs, operator sets, and what each refusal says."""

from __future__ import annotations

import random as random_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.ir.graph import Conv
from tests.unit.compile.onnx_nets import conv_model, model, node, random, refused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(InputError, tmp_path / "none.onnx", "none.onnx", "No such file")


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02 not a model", b"<html>not found</html>"])
def test_files_that_are_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    refused(InputError, path, "model.onnx")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    data = conv_model().SerializeToString()
    path.write_bytes(data[: len(data) // 2])
    refused(InputError, path, "cut short")


def test_damaged_files_end_in_an_error_of_ours_or_in_a_graph(tmp_path: Path) -> None:
    nodes = (
        node("Conv", ["x", "w"], ["a"], name="c1", pads=[1, 1, 1, 1]),
        node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2]),
        node("Shape", ["b"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["u"]),
        node("Concat", ["u", "rest"], ["t"], axis=0),
        node("Reshape", ["b", "t"], ["y"]),
    )
    weights = {
        "w": random(2, 3, 3, 3),
        "zero": np.asarray(0, np.int64),
        "axes": np.asarray([0], np.int64),
        "rest": np.asarray([-1], np.int64),
    }
    data = model(*nodes, weights=weights).SerializeToString()
    path = tmp_path / "model.onnx"
    rng = random_module.Random(5)
    outcomes: set[str] = set()
    for _ in range(1500):
        damaged = bytearray(data if rng.random() < 0.8 else data[: rng.randrange(len(data))])
        for _ in range(rng.choice([0, 1, 3]) if damaged else 0):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            canonicalise(import_onnx(path))
            outcomes.add("graph")
        except (InputError, UnsupportedError) as error:
            assert error.what and error.where and error.remedy
            outcomes.add(type(error).__name__)
    assert outcomes == {"graph", "InputError", "UnsupportedError"}


def test_a_cycle() -> None:
    cycle = model(node("Add", ["x", "b"], ["a"], name="n1"), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"]))
    refused(InputError, cycle, "cycle", "n1")


def test_nodes_out_of_order_are_sorted() -> None:
    graph = import_onnx(model(node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"])))
    assert [n.y for n in graph.nodes] == ["a", "y"]


def test_a_missing_initializer_is_named() -> None:
    broken = conv_model()
    del broken.graph.initializer[:]
    refused(InputError, broken, "'w'", "c1", "initializer")


def test_missing_external_data(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    big = model(node("Conv", ["x", "w"], ["y"]), weights={"w": random(64, 3, 5, 5)})
    onnx.save(big, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    assert isinstance(import_onnx(path).nodes[0], Conv)
    (tmp_path / "weights.data").unlink()
    refused(InputError, path, "weights.data", "external_data=False")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value: float) -> None:
    weight = random(4, 3, 3, 3)
    weight[1, 2, 0, 0] = value
    refused(
        InputError, model(node("Conv", ["x", "w"], ["y"]), weights={"w": weight}), "'w'", "1 NaN or infinite of 108"
    )


def test_factors_that_overflow_when_folded() -> None:
    nodes = (node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], name="g", transB=1, alpha=1e38))
    refused(InputError, model(*nodes, weights={"w": np.full((2, 90), 1e5, np.float32)}), "'g'", "infinite")


def test_dynamic_sizes_other_than_the_batch() -> None:
    refused(UnsupportedError, conv_model(image=(3, "h", 5)), "dynamic", "N x 3 x h x 5")


@pytest.mark.parametrize("batch", ["N", 1, 7])
def test_any_batch_is_dropped(batch: Any) -> None:
    assert import_onnx(conv_model(batch=batch)).tensors == {"x": (3, 6, 5), "y": (4, 4, 3)}


def test_half_precision_input_and_weights() -> None:
    refused(UnsupportedError, conv_model(dtype=TensorProto.FLOAT16), "float16", "model.float()")
    half = model(node("Conv", ["x", "w"], ["y"]), weights={"w": random(4, 3, 3, 3).astype(np.float16)})
    refused(UnsupportedError, half, "float16")


def test_integer_input() -> None:
    refused(UnsupportedError, conv_model(dtype=TensorProto.UINT8), "uint8")


def test_several_outputs_keep_their_names_and_order() -> None:
    nodes = (node("Relu", ["x"], ["y"]), node("Identity", ["y"], ["z"]), node("Flatten", ["y"], ["f"]))
    graph = canonicalise(import_onnx(model(*nodes, outputs=("z", "f", "y"))))
    c, h, w = graph.tensors["x"]
    shapes = [("z", (c, h, w)), ("f", (c * h * w,)), ("y", (c, h, w))]
    assert [(o.name, o.shape) for o in graph.outputs] == shapes and graph.results == ("z", "f", "y")
    assert graph.returned == {"y"}


def test_an_output_listed_twice_is_one() -> None:
    twice = model(node("Relu", ["x"], ["y"]), outputs=("y", "y"))
    assert import_onnx(twice).results == ("y",)


@pytest.mark.parametrize("output", ["x", "k"])
def test_an_output_that_is_the_input_or_constant_is_refused(output: str) -> None:
    odd = model(
        node("Relu", ["x"], ["y"]), node("Identity", ["n"], ["k"]), weights={"n": random(3)}, outputs=("y", output)
    )
    refused(InputError, odd, f"'{output}' does not depend")


def test_several_inputs() -> None:
    more = conv_model()
    more.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 3]))
    refused(UnsupportedError, more, "2 inputs (x, mask)")


def test_an_input_of_another_rank() -> None:
    refused(UnsupportedError, conv_model(image=(3, 6)), "N x 3 x 6")


@pytest.mark.parametrize(
    ("opset", "hint"), [(8, "opset_version=18"), (25, "opset_version=24"), (28, "opset_version=24")]
)
def test_operator_sets_outside_the_range(opset: int, hint: str) -> None:
    refused(UnsupportedError, conv_model(opset=opset), f"opset {opset}", "9 to 24", hint)


def test_initializers_that_are_also_inputs() -> None:
    """Until ONNX IR 3 every initializer had to be an input too."""
    old = conv_model(opset=9)
    old.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    assert import_onnx(old).input == "x"
