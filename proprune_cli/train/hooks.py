"""What may join a training run: regularisers, masks and freezing are hooks of `proprune_cli.train.loop.train`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from proprune_cli.train.options import TrainOptions
from proprune_cli.train.task import Task


@dataclass
class TrainRun:
    """One training run, as its hooks see it."""

    model: nn.Module
    task: Task
    options: TrainOptions
    optimiser: torch.optim.Optimizer
    epochs: float
    """Passes over the training images in all; the last one may be a part of one."""
    steps: int
    """Optimiser steps per whole epoch."""
    seed: int

    @property
    def total(self) -> int:
        """Optimiser steps in all."""
        return max(1, round(self.epochs * self.steps))

    @property
    def passes(self) -> int:
        """Epochs that are begun."""
        return math.ceil(self.total / self.steps)


@dataclass
class Step:
    """One optimiser step."""

    number: int
    """Counted from 0 over all epochs."""
    rate: float
    """Learning rate of this step."""
    images: torch.Tensor
    """float32 [B, C, H, W]."""
    labels: torch.Tensor
    """[B, …]: what `Dataset.targets` are."""
    outputs: Any
    """What the network gives for ``images``, with its graph: a tensor, or several."""
    loss: torch.Tensor


@dataclass(frozen=True)
class EpochEnd:
    """What is known when an epoch is over."""

    epoch: int
    loss: float
    validation_loss: float
    """Mean on the held-out training images."""
    validation_accuracy: float


@dataclass
class HookState:
    """What a hook must find again after the process was killed: tensors, and JSON values."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    note: dict[str, Any] = field(default_factory=dict[str, Any])


class TrainHook:
    """Base of every hook; each method may be left out.

    The loop calls, in this order: `attach` once; per step `before_backward`, `after_backward` and `after_step`; per
    epoch `end_epoch`, then `state` for the checkpoint; `detach` once, also after an error. A resumed run calls
    `restore` after `attach`. Whatever a hook draws at random must come from seeds of its own, derived from
    `TrainRun.seed`, so that a resumed run takes the same course.
    """

    name = "hook"
    """Its key in checkpoints; unique in a run."""
    finished = False
    """True: no further epoch is of use, and training ends here."""

    def attach(self, run: TrainRun) -> None:
        """Training is about to begin or to resume; the optimiser is fresh, the model has its present weights."""

    def detach(self) -> None:
        """Training is over; leave no handle on the network behind."""

    def before_backward(self, step: Step) -> None:
        """The loss is known, and may be replaced; gradients are cleared."""

    def after_backward(self, step: Step) -> None:
        """Gradients are in ``parameter.grad``."""

    def after_step(self, step: Step) -> None:
        """The optimiser has changed the weights; ``grad`` may have been overwritten."""

    def end_epoch(self, end: EpochEnd) -> None:
        """The network has been measured on the validation images; weights changed here go into the checkpoint."""

    def state(self) -> HookState:
        """What `restore` needs."""
        return HookState()

    def restore(self, state: HookState) -> None:
        """Go on from an earlier `state`."""

    def report(self) -> dict[str, Any]:
        """JSON values worth keeping with the run."""
        return {}
