"""Networks that scale and shift their input: done before quantisation, with the same bytes on every executor."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import open_session, run_session
from proprune_cli.compile.quantise.network import quantise
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random


def network(channels: int, size: int, scale: float, shift: float, *, beside: bool = False) -> ModelProto:
    """(x - mean) / deviation, a padded convolution, ReLU; with ``beside`` the image itself is added at the end."""
    rng = np.random.default_rng(channels)
    mean = (-shift / scale + rng.normal(0, 1 / scale, (1, channels, 1, 1))).astype(np.float32)
    deviation = (rng.uniform(0.5, 2, (1, channels, 1, 1)) / scale).astype(np.float32)
    nodes = [
        node("Sub", ["x", "mean"], ["centred"]),
        node("Div", ["centred", "deviation"], ["unit"]),
        node("Conv", ["unit", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r" if beside else "y"]),
        *([node("Add", ["r", "x"], ["y"])] if beside else []),
    ]
    weights = {"mean": mean, "deviation": deviation, "w": random(channels, channels, 3, 3)}
    return model(*nodes, weights=weights, image=(channels, size, size))


@pytest.mark.parametrize(("channels", "size"), [(1, 9), (3, 12), (17, 5)])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1 / 40, 7.5), (1 / 58, -2.0), (1e4, -3.0), (1e-4, 50.0)])
def test_all_executors_agree_and_the_signal_stays(channels: int, size: int, scale: float, shift: float) -> None:
    source = network(channels, size, scale, shift)
    images = ((np.random.default_rng(1).normal(size=(6, channels, size, size)) - shift) / scale).astype(np.float32)
    graph = canonicalise(import_onnx(source))
    assert graph.preprocess is not None and len(graph.nodes) == 1
    quantised, report = quantise(graph, images)
    program, layers = lower(quantised, load_array("z7020-256"), MEMORY)
    assert len(layers) == 1
    assert set(differing_bytes(quantised, program, images).values()) == {0}
    assert report.output_sqnr_db > 25
    session = open_session(source.SerializeToString(), optimise=False)
    (expected,) = run_session(session, None, {"x": images})
    found = np.ldexp(np.clip(np.rint(np.ldexp(expected, -program.outputs[0].plane.exponent)), -128, 127), 0)
    assert np.abs(found).max() > 60  # the float output fills the codes of the output


def test_an_input_with_other_readers_is_left_alone() -> None:
    source = network(3, 8, 1 / 40, 7.5, beside=True)
    images = (40 * np.random.default_rng(1).normal(size=(6, 3, 8, 8)) - 300).astype(np.float32)
    graph = canonicalise(import_onnx(source))
    assert graph.preprocess is None
    quantised, _ = quantise(graph, images)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert set(differing_bytes(quantised, program, images).values()) == {0}
