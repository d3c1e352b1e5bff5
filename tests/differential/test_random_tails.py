"""Random ends in tensors of any rank: imported they are the original, as programs within int8's error."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.random_tails import tailed
from tests.whole_networks import Images, compiled, imported, original, signal_db

LEAST_DB = 12
"""Most are at 30 dB; running sums add up the errors of a row, and a maximum's place may jump."""

AGREE = {"HLS C++": 0, "ONNX Runtime, optimised": 0, "ONNX Runtime, as written": 0}


def images_for(model: onnx.ModelProto, seed: int) -> Images:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(seed).standard_normal((3, *shape)).astype(np.float32)


def check_import(seed: int) -> bool:
    """Whether the network has an end on the host."""
    model = tailed(seed)
    images = images_for(model, seed)
    graph, got = imported(model, images)
    for name, wanted in original(model, images).items():
        assert got[name].shape == wanted.shape, (seed, name)
        np.testing.assert_allclose(got[name], wanted, rtol=1e-3, atol=1e-4, err_msg=f"{seed}, {name}")
    return graph.host_tail is not None


def check_program(seed: int) -> None:
    model = tailed(seed)
    images = images_for(model, seed)
    found = compiled(model, images, images)
    assert found.differing == AGREE, seed
    for name, wanted in original(model, images).items():
        assert signal_db(wanted, found.results[name]) > LEAST_DB, (seed, name)


def test_random_ends_are_imported_whole() -> None:
    hosted = sum(check_import(seed) for seed in range(40))
    assert 20 < hosted < 40


def test_random_ends_run_as_programs() -> None:
    for seed in range(100, 106):
        check_program(seed)


@pytest.mark.slow
def test_many_random_ends() -> None:
    for seed in range(1000, 1200):
        check_import(seed)
    for seed in range(2000, 2030):
        check_program(seed)
