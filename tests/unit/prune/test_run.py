"""A whole run: files that load back, resume after SIGKILL with the same result."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from proprune_cli.data.load import load_data
from proprune_cli.errors import BudgetError, InputError
from proprune_cli.flow.prune import prune_into
from proprune_cli.prune import Budget, PruneOptions, TrainOptions, load_run
from proprune_cli.train.loop import rate_at

OPTIONS = PruneOptions(
    model="resnet8?widths=8,16,16",
    data="digits",
    budget=Budget("ops", 0.6),
    multiple=4,
    epochs=3,
    finetune_epochs=2,
    thin=False,
    calibration=20,
    test_images=50,
    train=TrainOptions(batch=64, threads=1),
)

KILLED = """
import sys
from pathlib import Path
from tests_options import OPTIONS
from proprune_cli.flow.prune import prune_into

class Slow:
    def start(self, task, total, done=0): pass
    def advance(self, steps=1, detail=""):
        if detail:
            print(detail, flush=True)
            sys.stdin.readline()
    def finish(self, summary=""): pass
    def note(self, text): pass

prune_into(OPTIONS, Path(sys.argv[1]), Slow())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    prune_into(OPTIONS, out)
    return out


def test_a_run_learns_and_its_report_is_versioned(run: Path) -> None:
    result = json.loads((run / "results.json").read_text())
    assert result["version"] == 1
    assert result["dense"]["test_accuracy"] > 50
    assert result["finetuned"]["macs"] <= 0.6 * result["dense"]["macs"]
    assert result["verification_error"] <= 1e-4
    assert all((run / name).is_file() for name in result["files"])
    assert np.load(run / "calibration.npy").shape == (20, 1, 8, 8)


@pytest.mark.parametrize(("network", "onnx"), [("pruned", "model.onnx"), ("dense", "dense.onnx")])
def test_a_network_loads_back_and_equals_its_onnx_file(run: Path, network: str, onnx: str) -> None:
    with np.load(run / "test.npz") as stored:
        images, labels = stored["images"], stored["labels"]
    with torch.no_grad():
        expected = load_run(run, network)(torch.from_numpy(images)).numpy()
    found = ort.InferenceSession(run / onnx).run(None, {"input": images})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (expected.argmax(1) == labels).mean() > 0.4


def test_a_killed_run_resumes_from_its_last_epoch_with_the_same_bytes(run: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    (tmp_path / "tests_options.py").write_text(
        f"import sys; sys.path.insert(0, {str(root)!r})\nfrom tests.unit.prune.test_run import OPTIONS\n"
    )
    (tmp_path / "killed.py").write_text(KILLED)
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "killed.py"), str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().startswith("epoch 1")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith("epoch 2")
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert (out / "stages/dense.partial/checkpoint.safetensors").is_file()

    class Listener:
        starts: tuple[tuple[str, int], ...] = ()

        def start(self, task: str, total: int, done: int = 0) -> None:
            self.starts += ((task, done),)

        def advance(self, steps: int = 1, detail: str = "") -> None: ...
        def finish(self, summary: str = "") -> None: ...
        def note(self, text: str) -> None: ...

    listener = Listener()
    prune_into(OPTIONS, out, listener)
    assert listener.starts[0][0] == "dense training"
    assert listener.starts[0][1] > 0
    for name in ("dense.safetensors", "pruned.safetensors", "results.json"):
        assert (out / name).read_bytes() == (run / name).read_bytes(), name


def test_a_finished_run_is_not_trained_again(run: Path) -> None:
    began = time.monotonic()
    before = (run / "stages/dense/weights.safetensors").stat().st_mtime_ns
    prune_into(OPTIONS, run)
    assert (run / "stages/dense/weights.safetensors").stat().st_mtime_ns == before
    assert time.monotonic() - began < 60


def test_other_options_are_refused_unless_forced(run: Path) -> None:
    changed = dataclasses.replace(OPTIONS, method="l2")
    with pytest.raises(InputError, match="other options: method") as caught:
        prune_into(changed, run)
    assert "--force" in caught.value.remedy


def test_damaged_weights_of_a_run_are_refused(run: Path, tmp_path: Path) -> None:
    for name in ("pruned.json", "pruned.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert load_run(tmp_path) is not None
    (tmp_path / "pruned.safetensors").write_bytes((run / "pruned.safetensors").read_bytes()[:-64])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_run(tmp_path)
    (tmp_path / "pruned.safetensors").write_bytes((run / "dense.safetensors").read_bytes())
    with pytest.raises(InputError, match="weights do not fit"):
        load_run(tmp_path)


def test_the_one_cycle_rate_rises_then_falls_to_almost_nothing() -> None:
    rates = [rate_at(step, 100, 0.1, "onecycle") for step in range(100)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 20
    assert rates[0] < 0.01
    assert rates[-1] < 0.001


def test_calibration_images_are_training_images_as_they_are_stored() -> None:
    data = load_data("digits?size=16")
    images = data.sample(100)
    assert images.shape == (100, 1, 16, 16)
    assert images.dtype == np.float32
    assert images.min() == 0 and images.max() == 255
    assert abs(float(data.normalise(images).mean())) < 0.1
    np.testing.assert_array_equal(data.as_stored().normalise(images), images)
    assert len(data.train) + len(data.validation) + len(data.test) == 1797


def test_an_impossible_budget_shows_before_training(tmp_path: Path) -> None:
    hopeless = dataclasses.replace(OPTIONS, budget=Budget("ops", 0.001), epochs=100_000)
    with pytest.raises(BudgetError, match="cannot be met"):
        prune_into(hopeless, tmp_path / "run")
