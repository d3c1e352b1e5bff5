"""A network whose int8 form is worth nothing is said to be so, with the place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Cli
from tests.unit.compile.onnx_nets import model, node, random


def uneven(spread: float, scale: float) -> onnx.ModelProto:
    """Three convolutions; the second's channels are ``spread`` apart in range, and the third reads the small ones."""
    ranges = np.geomspace(1, spread, 8).astype(np.float32)
    reads = random(4, 8, 1, 1, seed=3) / ranges[None, :, None, None] ** 1.5
    weights = {
        "w1": random(8, 3, 3, 3, seed=1) * np.float32(scale),
        "w2": random(8, 8, 3, 3, seed=2) * ranges[:, None, None, None],
        "w3": reads.astype(np.float32),
    }
    return model(
        node("Conv", ["x", "w1"], ["a"], name="first"),
        node("Relu", ["a"], ["r"], name="relu"),
        node("Conv", ["r", "w2"], ["b"], name="uneven"),
        node("Conv", ["b", "w3"], ["y"], name="last"),
        node("Relu", ["r"], ["z"], name="fine"),
        weights=weights,
        image=(3, 10, 9),
        outputs=("y", "z"),
    )


@pytest.mark.parametrize(("spread", "scale"), [(1e4, 1.0), (1e5, 1e-3), (1e4, 1e6)])
def test_a_lost_signal_is_warned_of_with_output_and_layer(
    cli: Cli, tmp_path: Path, spread: float, scale: float
) -> None:
    onnx.save(uneven(spread, scale), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(8, 3, 10, 9)).astype(np.float32))
    for more in ((), ("--json",)):
        done = cli(
            "compile", tmp_path / "net.onnx", "--calibration", tmp_path / "x.npy", "-o", tmp_path / "n.ppr", *more
        )
        assert done.code == 0, done.err
        assert "warning: " in done.err and "the output 'y' is" in done.err and "lost at layer 'last'" in done.err
        assert "'z'" not in done.err
    outputs = done.document["report"]["outputs_db"]
    assert outputs["y"] < 10 < outputs["z"]


def test_a_sound_network_is_not(cli: Cli, tmp_path: Path) -> None:
    onnx.save(uneven(2.0, 1.0), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(8, 3, 10, 9)).astype(np.float32))
    done = cli("compile", tmp_path / "net.onnx", "--calibration", tmp_path / "x.npy", "-o", tmp_path / "n.ppr")
    assert done.code == 0 and "warning" not in done.err
