"""Threshold pruning on a plateau of the validation loss, shared by LOBSTER, SeReNe and plain decay.

Tartaglione et al. 2022, "LOss-Based SensiTivity rEgulaRization", training procedure; TWT and PWE are the papers' names.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from proprune_cli.train.hooks import EpochEnd, HookState, Step, TrainHook, TrainRun
from proprune_cli.train.loop import Score, evaluate
from proprune_cli.train.masks import Masks

PRUNED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
"""Modules whose parameters the threshold and the regularisers act on."""
GAIN = 0.01
"""A validation loss must fall by this share to count as better."""
_BISECTIONS = 16


def regularised(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of convolutions, fully connected layers and batch norms by name."""
    return {
        f"{name}.{leaf}" if name else leaf: parameter
        for name, module in model.named_modules()
        if isinstance(module, PRUNED)
        for leaf, parameter in module.named_parameters(recurse=False)
    }


class PlateauThreshold(TrainHook):
    """Zeroes the smallest parameters whenever the validation loss has stopped falling.

    After ``pwe`` epochs without a loss at least 1 % better, and at the last epoch, the best weights come back; then
    one global threshold on magnitudes is found by bisection that keeps the validation loss at or under (1 + twt) times
    what it was; everything below becomes zero and stays zero. Training ends when nothing can go any more.
    """

    name = "plateau"

    def __init__(self, twt: float, pwe: int) -> None:
        self._twt, self._pwe = twt, pwe
        self._masks = Masks({})
        self._best: dict[str, torch.Tensor] = {}
        self._best_loss, self._waited = math.inf, 0
        self._steps: list[dict[str, Any]] = []
        self._run: TrainRun | None = None

    def attach(self, run: TrainRun) -> None:
        """Start without masks."""
        self._run = run
        self._masks.attach(run)

    def after_backward(self, step: Step) -> None:
        """What was zeroed stays so."""
        self._masks.after_backward(step)

    def end_epoch(self, end: EpochEnd) -> None:
        """Keep the best weights; prune on a plateau."""
        run = self._run
        if run is None:
            return
        if end.validation_loss < (1 - GAIN) * self._best_loss:
            self._best_loss, self._waited = end.validation_loss, 0
            self._best = {name: t.detach().clone() for name, t in run.model.state_dict().items()}
        else:
            self._waited += 1
        if self._waited >= self._pwe or end.epoch + 1 == run.passes:
            self._prune(run, end.epoch)

    def _prune(self, run: TrainRun, epoch: int) -> None:
        run.model.load_state_dict(self._best)
        parameters = regularised(run.model)
        # The test images decide nothing; they are for the curve of error against size.
        test = evaluate(run.model, run.task, run.task.data.test).accuracy
        before = _figures(run, parameters) | {"test_accuracy": test}
        self._threshold(run, parameters)
        after = _figures(run, parameters)
        self._masks.set({name: p.detach() != 0 for name, p in parameters.items()}, run)
        run.optimiser.state.clear()  # momentum of weights that are no more
        self._steps.append({"epoch": epoch + 1, "before": before, "after": after})
        self._best, self._best_loss, self._waited = {}, math.inf, 0
        self.finished = after["left"] == before["left"]

    def _threshold(self, run: TrainRun, parameters: dict[str, nn.Parameter]) -> None:
        """Zero as much as the loss allows."""
        original = {name: p.detach().clone() for name, p in parameters.items()}
        magnitudes = torch.cat([p.detach().abs().flatten() for p in parameters.values()])
        ranked = magnitudes[magnitudes > 0].sort().values

        def without(count: int) -> Score:
            threshold = ranked[count] if count < len(ranked) else math.inf
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(original[name].masked_fill(original[name].abs() < threshold, 0.0))
            return evaluate(run.model, run.task, run.task.data.validation)

        base = without(0)
        low, high = 0, len(ranked)
        # Bisection over the rank of T: magnitudes crowd near zero, where halving T itself would waste steps.
        for _ in range(_BISECTIONS):
            if high - low <= 1:
                break
            middle = (low + high) // 2
            if without(middle).loss <= (1 + self._twt) * base.loss:
                low = middle
            else:
                high = middle
        without(low)

    def state(self) -> HookState:
        """Best weights, masks and counters."""
        masks = self._masks.state()
        tensors = {f"best/{name}": t for name, t in self._best.items()}
        tensors |= {f"mask/{name}": t for name, t in masks.tensors.items()}
        best = None if math.isinf(self._best_loss) else self._best_loss
        return HookState(tensors, {"best_loss": best, "waited": self._waited, "steps": self._steps})

    def restore(self, state: HookState) -> None:
        """See `TrainHook`."""
        split = {
            kind: {n.removeprefix(kind): t for n, t in state.tensors.items() if n.startswith(kind)}
            for kind in ("best/", "mask/")
        }
        self._best = split["best/"]
        self._masks.restore(HookState(split["mask/"]))
        self._best_loss = math.inf if state.note["best_loss"] is None else state.note["best_loss"]
        self._waited, self._steps = state.note["waited"], state.note["steps"]

    def report(self) -> dict[str, Any]:
        """Parameters left, validation accuracy and loss before and after each threshold; test accuracy before it."""
        return {"thresholds": self._steps}


def _figures(run: TrainRun, parameters: dict[str, nn.Parameter]) -> dict[str, Any]:
    """Parameters left, and the scores on the validation images."""
    left = sum(int((p != 0).sum()) for p in parameters.values())
    return {"left": left, **asdict(evaluate(run.model, run.task, run.task.data.validation))}
