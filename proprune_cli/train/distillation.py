"""Learning from another network's outputs besides the labels: the option ``--distil``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.errors import UsageError
from proprune_cli.spec.options import option, read_options
from proprune_cli.spec.parse import parse_spec
from proprune_cli.train.hooks import Step, TrainHook, TrainRun


@dataclass(frozen=True)
class DistillationOptions:
    """How much the teacher says."""

    weight: float = option(0.5, "of the teacher's part in the loss; the labels have the rest", low=0.0, high=1.0)
    temperature: float = option(4.0, "by which both networks' logits are divided", low=0.1, high=100.0)


class Distillation(TrainHook):
    """Loss (1 - w) · L + w · T² · KL(softmax(t / T) ‖ softmax(s / T)), with the teacher's logits t and the network's s.

    Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network", Section 2: T² keeps the size of the
    gradients. Logits are [B, classes, …]; the divergence is the mean over all but the classes. The teacher sees the
    same augmented images as the network (Beyer et al. 2022).
    """

    name = "distil"

    def __init__(self, teacher: nn.Module, options: DistillationOptions) -> None:
        self._teacher, self._options = teacher, options

    def attach(self, run: TrainRun) -> None:
        """Bring the teacher to the network's device."""
        self._teacher.to(next(run.model.parameters()).device).eval()

    def detach(self) -> None:
        """Bring it back."""
        self._teacher.cpu()

    def before_backward(self, step: Step) -> None:
        """Let the teacher join in."""
        with torch.no_grad():
            told = self._teacher(step.images)
        heat, weight = self._options.temperature, self._options.weight
        learned = nnf.log_softmax(step.outputs / heat, dim=1)
        wanted = nnf.log_softmax(told / heat, dim=1)
        apart = nnf.kl_div(learned, wanted, reduction="none", log_target=True).sum(dim=1).mean()
        step.loss = (1 - weight) * step.loss + weight * heat**2 * apart


def distillation_options(distil: str) -> DistillationOptions | None:
    """Of ``dense?weight=0.5&temperature=4``; None for ``none``.

    Raises:
        UsageError: ``--distil`` names nothing known, or an option of it is out of range.
    """
    spec = parse_spec(distil, "--distil")
    if spec.name == "none":
        return None
    if spec.name != "dense":
        raise UsageError(
            f"{spec.name!r} is no teacher", where="--distil", remedy="give dense, the dense network of the run, or none"
        )
    return read_options(spec, DistillationOptions, "--distil")
