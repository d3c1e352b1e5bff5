"""Plain weight decay with the thresholds of LOBSTER: the papers' baseline "ℓ2 + pruning"."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.prune.methods.common.base import Job, Method, Training
from proprune_cli.prune.methods.common.plateau import regularised
from proprune_cli.prune.methods.lobster import PlateauOptions, plateau_training
from proprune_cli.train.hooks import Step, TrainHook, TrainRun


class PlainDecay(TrainHook):
    """After each step, θ ← (1 - λ)·θ."""

    name = "decay"

    def __init__(self, lam: float) -> None:
        self._lam = lam
        self._parameters: list[nn.Parameter] = []

    def attach(self, run: TrainRun) -> None:
        """Find the parameters."""
        self._parameters = [p for p in regularised(run.model).values() if p.requires_grad]

    def after_step(self, step: Step) -> None:  # noqa: ARG002
        """Shrink."""
        with torch.no_grad():
            for parameter in self._parameters:
                parameter.mul_(1.0 - self._lam)


def _training(job: Job, options: PlateauOptions) -> Training:  # noqa: ARG001
    return plateau_training(PlainDecay(options.lam), options)


METHOD = Method(
    name="decay",
    title="Shrinks all weights alike, and zeroes the small ones whenever the validation loss no longer falls.",
    source="the baseline “ℓ2 + pruning” of Tartaglione et al. 2022 (LOBSTER and SeReNe), experiments",
    use="To see what sensitivity adds in lobster and serene.",
    training=_training,
    finish="zeroed",
    instead="the loss that it may cost decides, for example --method 'decay?twt=0.1'",
    options=PlateauOptions,
)
