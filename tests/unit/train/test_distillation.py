"""A teacher beside the labels: its part in the loss, who gets it, and what has none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from proprune_cli.errors import UsageError
from proprune_cli.flow.prune import prune_into
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.train.distillation import Distillation, DistillationOptions
from proprune_cli.train.hooks import Step

OPTIONS = PruneOptions(
    model="lenet5?widths=8,16,32",
    data="digits?size=16",
    method="l1",
    distil="dense",
    multiple=4,
    epochs=2,
    finetune_epochs=2,
    calibration=10,
    test_images=40,
    train=TrainOptions(batch=64, threads=1, augment="none", lr=0.05),
)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4, 6)], ids=["classes", "pixels"])
@pytest.mark.parametrize(("weight", "heat"), [(0.5, 4.0), (1.0, 1.0), (0.0, 2.0), (0.9, 20.0)])
def test_loss_and_gradient_are_those_of_the_formula(shape: tuple[int, ...], weight: float, heat: float) -> None:
    rng = np.random.default_rng(len(shape))
    own, told = (rng.normal(0, 5, shape) for _ in range(2))
    outputs = torch.tensor(own, requires_grad=True)
    step = Step(0, 0.1, torch.tensor(told), torch.zeros(0), outputs, 3 * outputs.sum())
    Distillation(nn.Identity(), DistillationOptions(weight, heat)).before_backward(step)
    step.loss.backward()

    sure = softmax(told / heat, axis=1)
    apart = (sure * (log_softmax(told / heat, axis=1) - log_softmax(own / heat, axis=1))).sum(axis=1)
    assert float(step.loss.detach()) == pytest.approx((1 - weight) * 3 * own.sum() + weight * heat**2 * apart.mean())
    slope = weight * heat * (softmax(own / heat, axis=1) - sure) / apart.size
    assert outputs.grad is not None
    np.testing.assert_allclose(outputs.grad.numpy(), 3 * (1 - weight) + slope, rtol=1e-9, atol=1e-12)


def test_all_but_the_dense_network_have_the_teacher_and_a_run_without_differs(tmp_path: Path) -> None:
    taught = prune_into(OPTIONS, tmp_path / "taught")
    alone = prune_into(dataclasses.replace(OPTIONS, distil="none"), tmp_path / "alone")
    assert taught.dense == alone.dense
    for stage, same in (("dense", True), ("prune", True), ("finetune", False), ("thin", False)):
        one, other = (
            (tmp_path / run / "stages" / stage / "weights.safetensors").read_bytes() for run in ("taught", "alone")
        )
        assert (one == other) == same, stage
    again = prune_into(OPTIONS, tmp_path / "taught")
    assert again == taught
    assert json.loads((tmp_path / "taught/run.json").read_text())["options"]["distil"] == "dense"


def test_with_an_objective_the_teacher_is_trained_first(tmp_path: Path) -> None:
    asked = dataclasses.replace(OPTIONS, method="codesign", objective="ops=60%", thin=False)
    assert prune_into(asked, tmp_path / "run").dense.test_accuracy > 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distil": "tutor"}, "'tutor' is no teacher"),
        ({"distil": "dense?weight=2"}, "weight is 2"),
        ({"distil": "dense?heat=2"}, "no option 'heat'"),
        ({"epochs": 0}, "never learned"),
        ({"train": TrainOptions(loss="torch.nn:MSELoss")}, "a loss of your own"),
    ],
)
def test_what_cannot_teach_is_refused_before_anything_is_written(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        prune_into(dataclasses.replace(OPTIONS, **options), tmp_path / "run")  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "run").exists()
