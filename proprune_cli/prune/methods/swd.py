"""Selective weight decay (Tessier et al. 2022, "Rethinking Weight Decay for Efficient Neural Network Pruning")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from proprune_cli.prune.methods.common.base import Job, Method, Slices, Training
from proprune_cli.prune.methods.l1 import l1
from proprune_cli.spec.options import option
from proprune_cli.train.hooks import Step, TrainHook, TrainRun


@dataclass(frozen=True)
class SwdOptions:
    """Options of `swd`.

    ``a_max`` is large because the rate, which multiplies the decay, falls to 0 in a one-cycle schedule: with 10⁵ the
    weights are still there when they are cut (resnet8 on the digits, half of the operations, three seeds: 36 % accuracy
    on the validation images; 10⁶: 96.7 %; 10⁸: 98.6 %, all three from dense weights).
    """

    a_min: float = option(0.1, "factor of the extra decay at the first step", low=1e-9)
    a_max: float = option(1e8, "factor of the extra decay at the last step", low=1e-9)
    mu: float = option(5e-4, "μ, the decay that the factor multiplies", low=1e-12)
    every: int = option(10, "steps between two selections of what would go now", low=1)


class SelectiveDecay(TrainHook):
    """Extra decay a(s)·μ on whatever the criterion would prune at this moment.

    a(s) = a_min·(a_max/a_min)^(s/s_final) (Section 3.1, Algorithm 1). The penalty ½·a·μ·‖w*‖² is applied after the
    step and implicitly, w* ← w* / (1 + rate·a·μ): to first order the same as a gradient step, and stable for any a.
    """

    name = "swd"

    def __init__(self, options: SwdOptions, would_go: Callable[[], Slices]) -> None:
        self._options, self._would_go = options, would_go
        self._targets: list[tuple[nn.Parameter, torch.Tensor]] = []
        self._parameters: dict[str, nn.Parameter] = {}
        self._steps, self._total = 1, 1

    def attach(self, run: TrainRun) -> None:
        """See `TrainHook`."""
        self._parameters = dict(run.model.named_parameters())
        self._steps, self._total = run.steps, run.total

    def after_step(self, step: Step) -> None:
        """Select where due, then decay."""
        # Counted from the start of an epoch, so that a resumed run selects at the same steps.
        if step.number % self._steps % self._options.every == 0:
            self._select()
        o = self._options
        a = o.a_min * (o.a_max / o.a_min) ** (step.number / max(1, self._total - 1))
        factor = 1.0 / (1.0 + step.rate * a * o.mu)
        with torch.no_grad():
            for parameter, selected in self._targets:
                parameter.mul_(torch.where(selected, factor, 1.0))

    def _select(self) -> None:
        masks: dict[tuple[str, int], torch.Tensor] = {}
        for name, axis, index in self._would_go():
            if name not in self._parameters:
                continue
            parameter = self._parameters[name]
            shape = [parameter.shape[axis] if d == axis else 1 for d in range(parameter.ndim)]
            mask = masks.setdefault((name, axis), torch.zeros(shape, dtype=torch.bool, device=parameter.device))
            mask.view(-1)[index.to(mask.device)] = True
        self._targets = [(self._parameters[name], mask) for (name, _), mask in masks.items()]


def _training(job: Job, options: SwdOptions) -> Training:
    return Training([SelectiveDecay(options, job.would_go)])


METHOD = Method(
    name="swd",
    title="Adds a growing decay to the channels that l1 would remove at each moment, so that removing them at the end "
    "changes next to nothing.",
    source="Tessier et al. 2022, Rethinking Weight Decay for Efficient Neural Network Pruning, Section 3.1 and "
    "Algorithm 1",
    use="One training from fresh weights in place of training, pruning and fine-tuning; good at hard budgets.",
    importance=l1,
    training=_training,
    # As the paper trains. Six epochs for each phase, resnet8 on the digits at 16×16, half of the operations, three
    # seeds, validation accuracy after the cut: 98.4 %, from dense weights 97.4 %; with a_max 10⁶ 97.9 % and 88.6 %.
    start="fresh",
    finish="cut",
    options=SwdOptions,
)
