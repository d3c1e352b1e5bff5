"""A detector with its decoding through the commands: what users get is boxes, the same from every place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.detectors import exported, made, pictures
from tests.whole_networks import original, signal_db

SIZE = (32, 48)


@pytest.mark.filterwarnings("ignore")
def test_a_detector_gives_boxes(cli, tmp_path: Path) -> None:
    model = exported(made("yolov8", classes=2, width=4, size=SIZE), "legacy", SIZE)
    images = pictures(4, SIZE, seed=3)
    onnx.save(model, tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", images)
    target, answer = tmp_path / "net.ppr", tmp_path / "y.npy"
    done = cli("compile", tmp_path / "net.onnx", "--calibration", tmp_path / "images.npy", "-o", target)
    assert done.code == 0, done.err
    plan = cli("inspect", target, "--plan", "--json").document["plan"]
    assert plan["host"][:2] == ["Concat", "Split"] and plan["host_steps"] == []
    found: list[np.ndarray] = []
    for board in ("emulated:pynq-z2", "interpreter", "cpu"):
        done = cli("run", target, "-i", tmp_path / "images.npy", "-o", answer, "--board", board)
        assert done.code == 0, done.err
        assert "Removing initializer" not in done.err
        found.append(np.load(answer))
    assert all(found[0].tobytes() == other.tobytes() for other in found[1:])
    ((_, wanted),) = original(model, images).items()
    assert found[0].shape == wanted.shape == (4, 6, 30) and signal_db(wanted, found[0]) > 15


def test_no_host_names_the_decoding(cli, tmp_path: Path) -> None:
    model = exported(made("yolox", classes=1, width=4, size=SIZE), "legacy", SIZE)
    onnx.save(model, tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", pictures(1, SIZE))
    target, calibration = tmp_path / "net.ppr", tmp_path / "images.npy"
    done = cli("compile", tmp_path / "net.onnx", "--calibration", calibration, "-o", target, "--no-host")
    assert done.code == 3 and "Concat, Transpose, Slice" in done.err and "would run on the host" in done.err
