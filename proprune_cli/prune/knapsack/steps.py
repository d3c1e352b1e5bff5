"""The loop of the knapsack method: choose, train what stays, accept the step while accuracy holds, tighten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from proprune_cli.train.hooks import EpochEnd, HookState, Step, TrainHook, TrainRun
from proprune_cli.train.loop import evaluate
from proprune_cli.train.masks import Masks
from proprune_cli.train.task import Task


@dataclass(frozen=True)
class Chosen:
    """One choice of structures.

    Attributes:
        masks: by parameter, False where a weight stays zero.
        shares: of each resource that remain. gap: share of the best possible value that may be lost at most.
    """

    masks: Mapping[str, torch.Tensor]
    shares: dict[str, float]
    gap: float


class KnapsackSteps(TrainHook):
    """Steps of pruning and masked fine-tuning.

    The epochs are dealt to ``steps`` steps as evenly as may be. At the end of each, its weights and masks are kept
    where the validation accuracy is at least ``rtol`` times the dense network's; otherwise the last kept ones come
    back and training ends (Ramhorst et al. 2023, the iterative algorithm).
    """

    name = "knapsack"

    def __init__(
        self, choose: Callable[[nn.Module, float], Chosen], model: nn.Module, task: Task, steps: int, rtol: float
    ) -> None:
        self._choose, self._steps, self._rtol = choose, steps, rtol
        self._run: TrainRun | None = None
        self._baseline = evaluate(model, task, task.data.validation).accuracy if rtol > 0 else 0.0
        self._accepted = {name: t.clone() for name, t in model.state_dict().items()}
        self._accepted_masks: dict[str, torch.Tensor] = {}
        self._history: list[dict[str, Any]] = []
        self._done = 0
        self._now = choose(model, 1 / steps)
        # Zeroed at once, so that a run without fine-tuning is pruned too.
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, mask in self._now.masks.items():
                parameters[name].masked_fill_(~mask, 0.0)
        self._masks = Masks(self._now.masks)

    def attach(self, run: TrainRun) -> None:
        """Mask the weights."""
        self._run = run
        self._masks.attach(run)

    def after_backward(self, step: Step) -> None:
        """Masked weights have no gradient."""
        self._masks.after_backward(step)

    def end_epoch(self, end: EpochEnd) -> None:
        """Accept or take back a step that is over, and begin the next."""
        run = self._run
        assert run is not None, "epochs end within a run"
        steps = min(self._steps, run.epochs)
        if end.epoch + 1 < (self._done + 1) * run.epochs // steps:
            return
        good = end.validation_accuracy >= self._rtol * self._baseline
        self._note(good, end.validation_accuracy)
        self._done += 1
        if not good:
            run.model.load_state_dict(self._accepted)
            self._masks.set(self._accepted_masks, run)
            self.finished = True
            return
        self._accepted = {name: t.clone() for name, t in run.model.state_dict().items()}
        self._accepted_masks = {name: mask.clone() for name, mask in self._now.masks.items()}
        if self._done < steps:
            self._now = self._choose(run.model, (self._done + 1) / steps)
            self._masks.set(self._now.masks, run)

    def state(self) -> HookState:
        """Masks, and the weights to fall back on."""
        tensors = {f"mask/{name}": mask.to(torch.uint8) for name, mask in self._now.masks.items()}
        tensors |= {f"kept/{name}": t for name, t in self._accepted.items()}
        tensors |= {f"kept-mask/{name}": mask.to(torch.uint8) for name, mask in self._accepted_masks.items()}
        now = {"shares": self._now.shares, "gap": self._now.gap}
        return HookState(tensors, {"done": self._done, "history": self._history, "now": now})

    def restore(self, state: HookState) -> None:
        """See `TrainHook.restore`."""

        def below(prefix: str) -> dict[str, torch.Tensor]:
            return {n.removeprefix(prefix): t for n, t in state.tensors.items() if n.startswith(prefix)}

        masks = {name: t != 0 for name, t in below("mask/").items()}
        self._now = Chosen(masks, **state.note["now"])
        self._accepted = below("kept/")
        self._accepted_masks = {name: t != 0 for name, t in below("kept-mask/").items()}
        self._done, self._history = state.note["done"], state.note["history"]
        current = self._accepted_masks if self.finished and not self._history[-1]["accepted"] else masks
        self._masks.restore(HookState({name: mask.to(torch.uint8) for name, mask in current.items()}))

    def report(self) -> dict[str, Any]:
        """Every step: what remained of each resource, accuracy, and whether it was accepted."""
        if not self._history:
            self._note(True, None)
        return {"baseline_accuracy": self._baseline or None, "steps": self._history}

    def _note(self, accepted: bool, accuracy: float | None) -> None:
        now = self._now
        self._history.append({"shares": now.shares, "gap": now.gap, "accuracy": accuracy, "accepted": accepted})
