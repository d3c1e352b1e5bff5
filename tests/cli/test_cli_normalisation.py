"""Images go in as the data set has them, at every door: ``load``, the ONNX file, ``run`` on an artifact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

import proprune_cli
from tests.cli.conftest import Cli

PRUNE = ("--model", "lenet5?widths=16,16,32", "--budget", "ops=0.6", "--multiple", "4", "--no-thin")
EPOCHS = ("--epochs", "4", "--finetune-epochs", "2")


def stripes(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Noise with stripes along the rows, the columns or both, [N, 1, 16, 16] about 0 with deviation of about 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    wave = np.sin(np.arange(16) * 1.3 + rng.uniform(0, 6, (count, 1)))
    along, across = wave[:, :, None] * np.ones(16), wave[:, None, :] * np.ones((16, 1))
    images = np.where(labels[:, None, None] == 0, along, np.where(labels[:, None, None] == 1, across, along * across))
    return (images + rng.normal(0, 0.3, (count, 16, 16)))[:, None], labels


@pytest.fixture(params=["float", "bytes"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data set far from zero mean and unit deviation, in numbers or in bytes."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for part, count, seed in (("train", 600, 0), ("test", 150, 1)):
        images, labels = stripes(count, seed)
        stored = (40 * images - 300).astype(np.float32)
        if request.param == "bytes":
            stored = np.clip(np.rint(30 * images + 200), 0, 255).astype(np.uint8)
        arrays |= {f"x_{part}": stored, f"y_{part}": labels}
    np.savez(tmp_path / "stripes.npz", **arrays)
    return tmp_path / "stripes.npz"


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((logits.reshape(len(labels), -1).argmax(axis=1) == labels).mean() * 100)


@pytest.mark.slow
def test_every_door_takes_the_images_of_the_data_set(cli: Cli, data: Path, tmp_path: Path) -> None:
    run, artifact = tmp_path / "run", tmp_path / "net.ppr"
    done = cli("prune", "--data", data, *PRUNE, *EPOCHS, "--out", run)
    assert done.code == 0, done.err
    reported = json.loads((run / "results.json").read_text())["finetuned"]["test_accuracy"]
    assert reported > 80
    with np.load(data) as stored:
        images, labels = stored["x_test"], stored["y_test"]
    np.save(tmp_path / "x.npy", images)
    network = proprune_cli.load(run)
    with torch.no_grad():
        loaded = network(torch.from_numpy(images)).numpy()
    assert accuracy(loaded, labels) == pytest.approx(reported, abs=0.01)
    exported = ort.InferenceSession(run / "model.onnx").run(None, {"input": images.astype(np.float32)})[0]
    np.testing.assert_allclose(exported, loaded, atol=1e-3)

    # Calibrated by the run's own images, and by the data set named anew.
    assert cli("compile", run, "-o", artifact).code == 0
    named = cli("compile", run / "model.onnx", "--calibration", data, "-o", tmp_path / "named.ppr")
    assert named.code == 0, named.err
    assert "preprocess" in cli("inspect", artifact, "--json").document["manifest"]
    outputs: list[NDArray[np.float32]] = []
    for file, board in ((artifact, "emulated:pynq-z2"), (artifact, "cpu"), (tmp_path / "named.ppr", "cpu")):
        ran = cli("run", file, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--board", board)
        assert ran.code == 0 and "warning" not in ran.err, ran.err
        outputs.append(np.load(tmp_path / "y.npy"))
        assert accuracy(outputs[-1], labels) > reported - 4
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert cli("deploy", artifact, "--board", "emulated:pynq-z2").code == 0
    assert cli("sensitivity", run, "--images", "50").code == 0

    # Normalised by hand as well: what they hold is far from what was calibrated.
    wrong = (images - images.mean()) / images.std()
    np.save(tmp_path / "wrong.npy", (1000 * wrong).astype(np.float32))
    ran = cli("run", artifact, "-i", tmp_path / "wrong.npy", "-o", tmp_path / "y.npy", "--board", "cpu", "--json")
    assert "warning: " in ran.err and "beyond the range of the calibration images" in ran.err
    assert ran.document["clipped_share"] > 0.5

    # An export of ours normalises by itself: pruned again, it is not given normalised images.
    again = cli("prune", "--model", run / "model.onnx", "--data", data, "--epochs", "0", "--finetune-epochs", "0",
                "--budget", "ops=0.9", "--no-thin", "--out", tmp_path / "again")  # fmt: skip
    assert again.code == 0, again.err
    dense = json.loads((tmp_path / "again/results.json").read_text())["dense"]["test_accuracy"]
    assert dense == pytest.approx(reported, abs=0.01)

    # Runs of before have no normalisation beside the network, and their networks take normalised images.
    description = json.loads((run / "pruned.json").read_text())
    del description["normalisation"]
    (run / "pruned.json").write_text(json.dumps({**description, "version": 1}))
    scale, shift = (getattr(network, part) for part in ("scale", "shift"))
    with torch.no_grad():
        old = proprune_cli.load(run)(torch.from_numpy(images) * scale + shift).numpy()
    np.testing.assert_array_equal(old, loaded)
