"""Masks: weights that stay exactly zero while the others are trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from proprune_cli.train.hooks import HookState, Step, TrainHook, TrainRun

MaskTensors = Mapping[str, torch.Tensor]
"""Qualified name of a parameter → bool of its shape, False where the weight stays zero."""


class Masks(TrainHook):
    """Keeps masked weights at zero, their momentum included.

    A masked weight starts at 0 and its gradient is set to 0 before every step. Momentum, Adam's moments and weight
    decay are then 0 as well, in every optimiser here, so that nothing has to be repaired after the step.
    """

    name = "masks"

    def __init__(self, masks: MaskTensors) -> None:
        self._gone = {name: ~mask for name, mask in masks.items()}
        self._parameters: dict[str, nn.Parameter] = {}

    def attach(self, run: TrainRun) -> None:
        """Zero the masked weights."""
        self._parameters = dict(run.model.named_parameters())
        self._gone = self._placed(self._gone)
        self._zero(run.optimiser)

    def set(self, masks: MaskTensors, run: TrainRun) -> None:
        """Take other masks from now on."""
        self._gone = self._placed({name: ~mask for name, mask in masks.items()})
        self._zero(run.optimiser)

    def after_backward(self, step: Step) -> None:  # noqa: ARG002
        """Masked weights have no gradient."""
        for name, gone in self._gone.items():
            gradient = self._parameters[name].grad
            if gradient is not None:
                gradient.masked_fill_(gone, 0.0)

    def state(self) -> HookState:
        """The masks, as bytes of 0 and 1."""
        return HookState({name: (~gone).to(torch.uint8) for name, gone in self._gone.items()})

    def restore(self, state: HookState) -> None:
        """Masks of the checkpoint; its weights and momentum are zero there already."""
        self._gone = self._placed({name: mask == 0 for name, mask in state.tensors.items()})

    def _placed(self, gone: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """On the devices of their parameters."""
        return {name: where.to(self._parameters[name].device) for name, where in gone.items()}

    def _zero(self, optimiser: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            for name, gone in self._gone.items():
                parameter = self._parameters[name]
                parameter.masked_fill_(gone, 0.0)
                for value in optimiser.state.get(parameter, {}).values():
                    if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                        value.masked_fill_(gone, 0.0)
