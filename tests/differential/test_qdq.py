"""ONNX Runtime on the QDQ model and the integer references give the same bytes, on every tensor."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.qdq.export import codes_name, to_qdq
from proprune_cli.compile.quantise.calibration import open_session, run_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.nodes import Host as Host
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, MULTIPLIER_LIMIT, QConv, QGraph
from proprune_cli.ops.reference import run_reference
from tests.strategies import random_network

SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


def stress(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The calibration images, and images that saturate every input code."""
    rng = np.random.default_rng(1)
    extreme = rng.choice(np.asarray([-1e4, 1e4], np.float32), x[:2].shape)
    return np.concatenate([x, x[:1] * 3, extreme, np.full_like(x[:1], 1e4), np.full_like(x[:1], -1e4)])


PATHS: dict[str, dict[str, bool]] = {
    "as written": {"optimise": False},
    "optimised": {"optimise": True},
    "integer kernels": {"optimise": True, "integer_kernels": True},
}


def differing_bytes(q: QGraph, x: NDArray[np.float32]) -> dict[tuple[str, str], int]:
    """How many codes differ from the references, by ONNX Runtime path and tensor; empty when all agree."""
    wrong: dict[tuple[str, str], int] = {}
    for path, options in PATHS.items():
        wrong.update({(path, name): count for name, count in _differing(q, x, options).items()})
    return wrong


def _differing(q: QGraph, x: NDArray[np.float32], options: dict[str, bool]) -> dict[str, int]:
    session = open_session(to_qdq(q, expose_codes=True).SerializeToString(), threads=1, **options)
    names = [output.name for output in session.get_outputs()]
    # What the host computes is defined for one image at a time.
    batches = np.split(x, len(x)) if any(isinstance(layer, Host) for layer in q.layers) else [x]
    results = [np.concatenate(parts) for parts in zip(*(session.run(None, {q.input: b}) for b in batches), strict=True)]
    got: dict[str, Any] = dict(zip(names, results, strict=True))
    expected = run_reference(q, got[codes_name(q.input)])
    assert set(expected) == set(q.tensors)
    # Without the extra outputs the optimiser is free to fuse across them; the result may not change.
    session = open_session(to_qdq(q).SerializeToString(), threads=1, **options)
    alone = zip(*(run_session(session, None, {q.input: b}) for b in batches), strict=True)
    for o, parts in zip(q.outputs, alone, strict=True):
        output = np.ldexp(expected[o.tensor].astype(np.float32), q.tensors[o.tensor].exponent)
        np.testing.assert_array_equal(np.concatenate(parts), output.reshape(len(x), *o.shape), err_msg=o.name)
    wrong = {name: int(np.count_nonzero(expected[name] != got[codes_name(name)])) for name in expected}
    return {name: count for name, count in wrong.items() if count}


def run_float(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(open_session(model.SerializeToString()).run(None, {"x": x})[0])


@settings(SETTINGS, max_examples=150)
@given(random_network(grouped=True))
def test_random_networks_agree_byte_for_byte(case: tuple[onnx.ModelProto, NDArray[np.float32]]) -> None:
    model, x = case
    q, _ = quantise(canonicalise(import_onnx(model)), x)
    assert differing_bytes(q, stress(x)) == {}


@settings(SETTINGS, max_examples=100)
@given(random_network(grouped=True))
def test_the_quantised_network_keeps_its_bounds_and_shape(case: tuple[onnx.ModelProto, NDArray[np.float32]]) -> None:
    model, x = case
    graph = import_onnx(model)
    q, report = quantise(canonicalise(graph), x)
    real = run_session(open_session(model.SerializeToString()), [o.name for o in q.outputs], {"x": x})
    assert [o.shape for o in q.outputs] == [y.shape[1:] for y in real]
    assert report.images == len(x)
    for layer in q.layers:
        if isinstance(layer, QConv):
            assert layer.weight.dtype == np.int8 and int(layer.weight.min()) >= -127
            assert int(layer.multiplier.min()) >= 1 and int(layer.multiplier.max()) < MULTIPLIER_LIMIT
            reach = 127 * np.abs(layer.weight.astype(np.int64)).reshape(len(layer.bias), -1).sum(axis=1)
            assert int((reach // 2).max()) < ACCUMULATOR_LIMIT
            assert int(np.abs(layer.bias.astype(np.int64)).max()) < ACCUMULATOR_LIMIT


def network(*nodes: onnx.NodeProto, weights: dict[str, NDArray[Any]], image: tuple[int, ...]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *image])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(v, k) for k, v in weights.items()]
    graph = helper.make_graph(list(nodes), "net", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_long_sums_of_equal_signs_stay_exact() -> None:
    """4096 x 3 x 3 weights of one sign and inputs at full scale: the worst accumulator that the bound admits."""
    rng = np.random.default_rng(0)
    weight = np.abs(rng.standard_normal((4, 1024, 3, 3))).astype(np.float32)
    model = network(
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["y"]),
        weights={"w": weight},
        image=(1024, 3, 3),
    )
    x = np.abs(rng.standard_normal((2, 1024, 3, 3))).astype(np.float32)
    q, report = quantise(canonicalise(import_onnx(model)), x)
    assert report.limited_channels == 4
    assert differing_bytes(q, stress(x)) == {}


def test_the_optimised_model_runs_integer_kernels(tmp_path: Path) -> None:
    """The comparison is worth something only when ONNX Runtime really takes another path with optimisation."""
    rng = np.random.default_rng(0)
    model = network(
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2]),
        weights={
            "w": rng.standard_normal((8, 3, 3, 3), np.float32),
            "v": rng.standard_normal((8, 8, 1, 1), np.float32),
        },
        image=(3, 8, 8),
    )
    x = rng.standard_normal((2, 3, 8, 8), np.float32)
    q, _ = quantise(canonicalise(import_onnx(model)), x)
    kinds = {}
    for name, allowed in (("float", "0"), ("integer", "1")):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.qdqisint8allowed", allowed)
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        ort.InferenceSession(to_qdq(q).SerializeToString(), options)
        kinds[name] = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert kinds["integer"].count("QLinearConv") == 2
    assert "QLinearAdd" in kinds["integer"] and "Conv" not in kinds["integer"]
    if platform.machine() == "x86_64":
        assert kinds["float"].count("Conv") == 2


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_float_import_matches_onnx_runtime(opset: int) -> None:
    """Import and passes keep the float function: checked through the calibration model."""
    from proprune_cli.compile.quantise.calibration import calibrate

    rng = np.random.default_rng(3)
    model = network(
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[2, 1, 0, 1], strides=[2, 1], dilations=[1, 2]),
        helper.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("BatchNormalization", ["r", "g", "b", "m", "v"], ["s"]),
        helper.make_node("Add", ["s", "r"], ["p"]),
        helper.make_node("AveragePool", ["p"], ["q"], kernel_shape=[2, 2], pads=[1, 0, 0, 1], count_include_pad=1),
        helper.make_node("GlobalAveragePool", ["q"], ["h"]),
        helper.make_node("Flatten", ["h"], ["f"]),
        helper.make_node("Gemm", ["f", "k", "c"], ["y"], alpha=0.5, beta=2.0),
        weights={
            "w": rng.standard_normal((5, 3, 3, 3), np.float32),
            **{name: rng.uniform(0.5, 1.5, 5).astype(np.float32) for name in "gbmv"},
            "k": rng.standard_normal((5, 4), np.float32),
            "c": rng.standard_normal((1, 4), np.float32),
        },
        image=(3, 11, 9),
    )
    model.opset_import[0].version = opset
    x = rng.standard_normal((3, 3, 11, 9), np.float32)
    got = calibrate(canonicalise(import_onnx(model)), x).outputs[0]
    np.testing.assert_allclose(got.reshape(3, 4), run_float(model, x), rtol=1e-4, atol=1e-5)
