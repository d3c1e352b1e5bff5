"""The ``onnx`` package's light models with local response normalisation between their layers: steps of the host."""

from __future__ import annotations

import numpy as np
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.compile.frontend import canonicalise, import_onnx
from proprune_cli.compile.pipeline import compile_model, lower
from proprune_cli.compile.quantise import quantise
from proprune_cli.errors import UnsupportedError
from tests.executors import MEMORY, differing_bytes
from tests.onnx_light_models import image, light_model

AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bvlc_alexnet", "zfnet512", "inception_v1"])
def test_normalisation_on_the_host_between_layers(name: str) -> None:
    graph = canonicalise(import_onnx(light_model(name)))
    quantised, _ = quantise(graph, image())
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert [step.operators for step in program.host_steps] == [("LRN",), ("LRN",)]
    output = program.host_steps[1].output
    assert 0 < program.host_steps[0].after < program.host_steps[1].after < program.layer_count
    assert output.channels > 100
    images = np.concatenate([image(seed=5), image(seed=6) * 2])
    assert differing_bytes(quantised, program, images) == AGREE


def test_no_host_refuses_it() -> None:
    with pytest.raises(UnsupportedError, match="LRN, LRN, Softmax would run on the host"):
        compile_model(
            light_model("inception_v1"), image(), load_array("z7020-256"), load_board("pynq-z2"), allow_host=False
        )
