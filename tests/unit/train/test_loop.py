"""The training loop: as many steps as the epochs come to, also where the last one is a part of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from proprune_cli.data.dataset import Dataset, Split
from proprune_cli.rundir import RunDir
from proprune_cli.train.cost import COST, cost_of
from proprune_cli.train.hooks import EpochEnd, Step, TrainHook
from proprune_cli.train.loop import EpochRecord, train
from proprune_cli.train.options import TrainOptions
from proprune_cli.train.progress import SilentProgress
from proprune_cli.train.task import Task


class _KilledError(Exception):
    """Ends the training, as the process could be ended."""


class _Seen(TrainHook):
    """Keeps the rates of all steps; ends the training in the epoch ``killed``."""

    name = "seen"

    def __init__(self, killed: int | None = None) -> None:
        self.rates: list[float] = []
        self._killed = killed

    def after_step(self, step: Step) -> None:
        self.rates.append(step.rate)

    def end_epoch(self, end: EpochEnd) -> None:
        if end.epoch == self._killed:
            raise _KilledError


def _task(images: int) -> Task:
    rng = np.random.default_rng(0)

    def part(count: int) -> Split:
        images = rng.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)
        return Split(images, rng.integers(0, 3, count).astype(np.int64))

    return Task(Dataset("noise", part(images), part(6), part(6), ("a", "b", "c"), (0.5,), (0.25,), "noise"))


def _trained(
    path: Path, epochs: float, hook: _Seen, before: float = 0.0, after: float = 0.0
) -> tuple[nn.Module, list[EpochRecord]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with RunDir(path, "prune", {}) as run:
        records = train(
            model, _task(40), TrainOptions(batch=4, threads=1), epochs=epochs, peak=0.1, seed=0, label="a task",
            stage=run.stage("dense", {}), progress=SilentProgress(), hooks=[hook], before=before, after=after,
        )  # fmt: skip
        cost = cost_of(run.stage("dense", {}).read(COST), "here")
    assert cost is not None and cost.epochs == pytest.approx(len(hook.rates) / 10)
    return model, records


@pytest.mark.parametrize(
    ("epochs", "steps", "passes"), [(2, 20, 2), (0.3, 3, 1), (1.5, 15, 2), (2.04, 20, 2), (0.01, 1, 1)]
)
def test_steps_and_rates_of_parts_of_epochs(tmp_path: Path, epochs: float, steps: int, passes: int) -> None:
    hook = _Seen()
    _, records = _trained(tmp_path / "run", epochs, hook)
    assert (len(hook.rates), len(records)) == (steps, passes)
    assert max(hook.rates) <= 0.1
    if steps > 2:
        assert hook.rates[-1] <= 0.05  # the cosine has come down, however many steps there are


@pytest.mark.parametrize("first", [0.3, 0.7, 1.0, 2.2])
def test_parts_of_one_training_share_a_course_of_the_rate(tmp_path: Path, first: float) -> None:
    whole, parts = _Seen(), [_Seen(), _Seen()]
    _trained(tmp_path / "whole", 3, whole)
    _trained(tmp_path / "first", first, parts[0], after=3 - first)
    _trained(tmp_path / "second", 3 - first, parts[1], before=first)
    assert len(whole.rates) == 30
    assert [*parts[0].rates, *parts[1].rates] == pytest.approx(whole.rates)


def test_a_part_of_an_epoch_after_a_kill_is_the_same(tmp_path: Path) -> None:
    plain, records = _trained(tmp_path / "plain", 2.5, _Seen())
    with pytest.raises(_KilledError):
        _trained(tmp_path / "killed", 2.5, _Seen(killed=1))
    hook = _Seen()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with RunDir(tmp_path / "killed", "prune", {}) as run:
        again = train(
            model, _task(40), TrainOptions(batch=4, threads=1), epochs=2.5, peak=0.1, seed=0, label="a task",
            stage=run.stage("dense", {}), progress=SilentProgress(), hooks=[hook],
        )  # fmt: skip
    assert len(hook.rates) == 15  # the epoch in which it was killed was not kept
    assert again == records
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, plain.state_dict()[name]), name
