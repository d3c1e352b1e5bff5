"""LOBSTER (Tartaglione et al. 2022, "LOss-Based SensiTivity rEgulaRization: Towards Deep Sparse Neural Networks")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from proprune_cli.prune.methods.common.base import Job, Method, Training
from proprune_cli.prune.methods.common.plateau import PlateauThreshold, regularised
from proprune_cli.spec.options import option
from proprune_cli.train.hooks import Step, TrainHook, TrainRun


@dataclass(frozen=True)
class PlateauOptions:
    """Options of the methods that prune on a plateau."""

    lam: float = option(1e-4, "λ, how fast insensitive weights shrink at each step", low=0.0, high=1.0)
    twt: float = option(0.05, "TWT, by what share the validation loss may rise at a threshold", low=0.0)
    pwe: int = option(20, "PWE, epochs without a 1 % better validation loss before a threshold", low=1)


class LossSensitivity(TrainHook):
    """After each step, θ ← θ - λ·θ·relu(1 - |∂L/∂θ|): the paper's update rule.

    θ are the parameters of convolutions, fully connected layers and batch norms.
    """

    name = "lobster"

    def __init__(self, lam: float) -> None:
        self._lam = lam
        self._parameters: list[nn.Parameter] = []
        self._factors: list[torch.Tensor] = []

    def attach(self, run: TrainRun) -> None:
        """Find the parameters."""
        self._parameters = [p for p in regularised(run.model).values() if p.requires_grad]

    def after_backward(self, step: Step) -> None:  # noqa: ARG002
        """1 - λ·relu(1 - |g|), taken now, since Nesterov's step writes into the gradients."""
        # relu(1 - |g|) = 1 - min(|g|, 1)
        self._factors = [
            torch.ones_like(p) - self._lam
            if p.grad is None
            else p.grad.abs().clamp_max_(1.0).mul_(self._lam).add_(1.0 - self._lam)
            for p in self._parameters
        ]

    def after_step(self, step: Step) -> None:  # noqa: ARG002
        """Shrink."""
        with torch.no_grad():
            for parameter, factor in zip(self._parameters, self._factors, strict=True):
                parameter.mul_(factor)


def plateau_training(regulariser: TrainHook, options: PlateauOptions) -> Training:
    """Training with a regulariser and thresholds, at a constant learning rate and without another decay."""
    return Training(
        [regulariser, PlateauThreshold(options.twt, options.pwe)],
        train={"schedule": "constant", "weight_decay": 0.0},
    )


def _training(job: Job, options: PlateauOptions) -> Training:  # noqa: ARG001
    return plateau_training(LossSensitivity(options.lam), options)


METHOD = Method(
    name="lobster",
    title="Shrinks weights to which the loss is insensitive, and zeroes the small ones whenever the validation loss "
    "no longer falls.",
    source="Tartaglione et al. 2022, LOss-Based SensiTivity rEgulaRization, update rule and training procedure",
    use="The fewest weights at a given loss; whole channels go only where all their weights do.",
    training=_training,
    finish="zeroed",
    instead="the loss that it may cost decides, for example --method 'lobster?twt=0.1'",
    options=PlateauOptions,
)
