"""The ``onnx`` package's light models at 224 x 224 with seeded random weights, byte for byte on every executor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import compile_model
from proprune_cli.compile.quantise.calibration import calibrate, open_session
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.nodes import Host
from tests.foreign_networks import Images, compare
from tests.onnx_light_models import NAMES, light_model, noise

NORMALISED = ("bvlc_alexnet", "inception_v1", "zfnet512")
"""Models with local response normalisation between their layers: steps of the host."""

HEAVY = ("vgg19",)
"""Too long for a test: ``benchmarks/bench_foreign.py`` goes through it."""

LONG = ("zfnet512",)

AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}


def run(model: onnx.ModelProto, x: Images) -> Images:
    """First output of a float model of one input."""
    session = open_session(model.SerializeToString())
    stored = {tensor.name for tensor in model.graph.initializer}
    (name,) = (value.name for value in model.graph.input if value.name not in stored)
    return np.asarray(session.run(None, {name: x})[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.large) if n in LONG else n for n in NAMES if n not in HEAVY]
)
def test_light_models_agree(name: str) -> None:
    model, images = light_model(name), noise(2)
    imported = import_onnx(model)
    real = calibrate(canonicalise(imported), images[:1]).outputs[0].reshape(1, *imported.outputs[0].shape)
    assert len(np.unique(real)) > 100, "the random weights leave nothing to compare"
    if imported.host_tail is not None:
        real = run(onnx.load_model_from_string(imported.host_tail.model), real)
    expected = run(model, images[:1])
    np.testing.assert_allclose(real.reshape(expected.shape), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert compare(model, images[:1], images[1:]).differing == AGREE


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.large) if n in LONG else n for n in NORMALISED])
def test_normalisation_runs_on_the_host_between_layers(name: str) -> None:
    graph = canonicalise(import_onnx(light_model(name)))
    assert [node.operators for node in graph.nodes if isinstance(node, Host)] == [("LRN",), ("LRN",)]
    with pytest.raises(UnsupportedError, match="LRN, LRN, Softmax would run on the host"):
        compile_model(light_model(name), noise(1), load_array("z7020-256"), load_board("pynq-z2"), allow_host=False)
