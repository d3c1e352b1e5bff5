"""Every method from start to end on the digits, and what a run that was killed comes to."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from proprune_cli.errors import UsageError
from proprune_cli.flow.prune import prune_into
from proprune_cli.pages import stale
from proprune_cli.prune import PruneOptions, TrainOptions, load_run
from proprune_cli.prune.method_names import METHOD_NAMES
from proprune_cli.prune.methods import METHODS
from proprune_cli.prune.methods.common import page
from proprune_cli.prune.result import PruneResult
from proprune_cli.prune.schedules import schedule_of
from proprune_cli.prune.schedules.iterative import compose

OPTIONS = PruneOptions(
    model="lenet5?widths=8,16,32",
    data="digits?size=16",
    multiple=4,
    epochs=4,
    finetune_epochs=4,
    thin=False,
    calibration=10,
    test_images=40,
    train=TrainOptions(batch=64, threads=1, augment="none", lr=0.05),
)


def given(method: str, **more: Any) -> PruneOptions:
    return dataclasses.replace(OPTIONS, method=method, **more)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_digits_and_loads_back(method: str, tmp_path: Path) -> None:
    options = given({"lobster": "lobster?pwe=1&lam=1e-3", "serene": "serene?pwe=1&lam=1e-3&mode=lower",
                     "decay": "decay?pwe=1&lam=1e-3"}.get(method, method))  # fmt: skip
    if method == "bn":
        options = dataclasses.replace(options, model="resnet8?widths=8,16,16", data="digits")
    result = prune_into(options, tmp_path / "run")
    assert result.verification_error <= 1e-4
    assert result.finetuned.test_accuracy > 70
    if METHODS[method].finish == "cut":
        assert result.finetuned.macs <= 0.5 * result.dense.macs
    elif method != "binary":
        assert result.finetuned.nonzero_params < 0.9 * result.dense.nonzero_params
    with np.load(tmp_path / "run/test.npz") as stored:
        images = stored["images"]
    network = load_run(tmp_path / "run")
    assert sum(int((p != 0).sum()) for p in network.parameters()) == result.finetuned.nonzero_params
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    found = ort.InferenceSession(tmp_path / "run/model.onnx").run(None, {"input": images})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert PruneResult.from_json(json.loads((tmp_path / "run/results.json").read_text())) == result


KILLED = {
    "l2": given("l2", residual="free"),
    "bn": given("bn", model="resnet8?widths=8,16,16", data="digits"),
    "taylor": given("taylor", rounds=2, freeze="neq?eps=0.05&mu=0.1&images=32", finetune_epochs=8),
    "l1": given("l1", freeze="stochastic?p=0.4"),
    "lobster": given("lobster?pwe=1&lam=1e-3"),
    "serene": given("serene?pwe=1&lam=1e-3&every=3"),
    "decay": given("decay?pwe=1&lam=1e-3"),
    "guided": given("guided", binary=True),
    "knapsack": given("knapsack?steps=2&cycles=0.6"),
    "codesign": given("codesign?search=0.6", objective="ops=40%"),
}
"""Options that make methods and schedules keep a state between steps; the others need none."""


class KillAt:
    """Ends the process, as nothing can prevent, after an epoch of a task."""

    def __init__(self, task: str, epoch: int) -> None:
        self._task, self._epoch, self._now = task, epoch, ""

    def start(self, task: str, total: int, done: int = 0) -> None:
        self._now = task

    def advance(self, steps: int = 1, detail: str = "") -> None:
        if self._task in self._now and detail.startswith(f"epoch {self._epoch} of "):
            os.kill(os.getpid(), signal.SIGKILL)

    def finish(self, summary: str = "") -> None: ...
    def note(self, text: str) -> None: ...


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_while_its_method_works_ends_with_the_same_bytes(method: str, tmp_path: Path) -> None:
    options = KILLED.get(method, given(method))
    prune_into(options, tmp_path / "undisturbed")
    killed = tmp_path / "killed"
    tuned = METHODS[method].training is None
    task = "fine-tuning, round 2" if options.rounds else "fine-tuning" if tuned else f"{method} training"
    for epoch in (1, 3):
        child = os.fork()
        if not child:
            try:
                prune_into(options, killed, KillAt(task, epoch))
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    stages = {p.name for p in (killed / "stages").iterdir()}
    assert stages & {"regularised.partial", "finetune.partial"}
    prune_into(options, killed)
    for name in ("pruned.safetensors", "results.json", "model.onnx"):
        assert (killed / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name


def test_rounds_meet_the_whole_budget_and_say_what_stays_of_the_dense_network(tmp_path: Path) -> None:
    result = prune_into(given("l2", rounds=3, epochs=1, finetune_epochs=3), tmp_path / "run")
    assert result.finetuned.macs <= 0.5 * result.dense.macs
    assert result.achieved == pytest.approx(result.finetuned.macs / result.dense.macs)
    assert [row.kept_macs for row in result.layers] and sum(r.kept_macs for r in result.layers) == result.finetuned.macs
    assert sum(row.macs for row in result.layers) == result.dense.macs
    network = load_run(tmp_path / "run")
    assert [m.weight.shape[0] for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)] == [
        row.kept_out for row in result.layers
    ]


def test_cuts_compose_to_indices_of_the_first_network() -> None:
    first = {"w": {0: [1, 3, 5, 7]}, "b": {0: [0, 2]}}
    second = {"w": {0: [0, 3], 1: [2]}, "v": {0: [1]}}
    assert compose(first, second) == {"w": {0: [1, 7], 1: [2]}, "b": {0: [0, 2]}, "v": {0: [1]}}


@pytest.mark.parametrize("method", ["guided", "swd"])
def test_training_afresh_takes_the_epochs_of_both_phases(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both papers train once, from fresh weights."""
    for place in ("pipeline", "publish"):
        monkeypatch.setattr(f"proprune_cli.prune.{place}.to_onnx", lambda *_: b"")
    options = given(method, epochs=2, finetune_epochs=1)
    prune_into(options, tmp_path / "fresh")
    report = json.loads((tmp_path / "fresh/stages/regularised/report.json").read_text())
    assert len(report["epochs"]) == 3
    prune_into(dataclasses.replace(options, start="dense"), tmp_path / "dense")
    report = json.loads((tmp_path / "dense/stages/regularised/report.json").read_text())
    assert len(report["epochs"]) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"method": "guided", "schedule": "iterative"}, "guided cannot follow the schedule 'iterative'"),
        ({"method": "l1", "schedule": "training"}, "l1 cannot follow"),
        ({"method": "serene", "rounds": 3}, "serene cannot follow"),
        ({"schedule": "one-shot", "rounds": 3}, "rounds have no meaning"),
        ({"start": "fresh"}, "starts from the trained network"),
        ({"binary": True}, "l1 has no binary form"),
        ({"rounds": 9}, "need at least as many epochs"),
    ],
)
def test_a_combination_without_sense_is_refused_with_a_way_out(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        schedule_of(dataclasses.replace(OPTIONS, **more))
    assert caught.value.remedy


def test_freezing_something_unknown_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'neqq' is not a choice"):
        prune_into(given("l1", freeze="neqq"), tmp_path / "run")


def test_the_page_of_methods_is_up_to_date() -> None:
    assert stale({page.PAGE: page.page()}) == []


def test_a_file_is_called_as_its_method_is() -> None:
    assert METHOD_NAMES == tuple(METHODS) == tuple(method.name for method in METHODS.values())
