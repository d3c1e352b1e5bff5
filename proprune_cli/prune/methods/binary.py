"""BinaryConnect: weights of two values in the forward pass, real ones under the optimiser (Courbariaux et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from proprune_cli.errors import InputError
from proprune_cli.prune.methods.common.base import Job, Method, Training
from proprune_cli.prune.methods.common.kernels import layers_in_order, spatial_kernels
from proprune_cli.spec.options import option
from proprune_cli.train.hooks import Step, TrainHook, TrainRun


@dataclass(frozen=True)
class BinaryOptions:
    """Options of `binary`."""

    layers: str = option(
        "kernels",
        "`kernels`: convolutions larger than 1×1, as in the guided-pruning paper; `inner`: all but the first and the "
        "last layer; `all`",
        choices=("kernels", "inner", "all"),
    )
    first: str = option(
        "auto",
        "with `layers=kernels`, the first layer: `prune`, `keep`, or `auto`: binary where it has as many input "
        "channels as kernel positions",
        choices=("auto", "prune", "keep"),
    )


class _StraightThrough(torch.autograd.Function):
    """±scale in the forward pass, the identity in the backward pass (Algorithm 1)."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(mask)
        axes = tuple(range(1, weight.ndim))
        # The scale with the least squared error: the mean magnitude (Rastegari et al. 2016, "XNOR-Net", Eq. 6).
        scale = (weight.abs() * mask).sum(axes, keepdim=True) / mask.sum(axes, keepdim=True).clamp(min=1)
        return torch.where(weight >= 0, scale, -scale) * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None


class Binarised(nn.Module):
    """Parametrisation w → scale[o]·sign(w), 0 where masked; the scale is the mean |w| of output channel o."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.float())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """float32, the shape of ``weight``."""
        return _StraightThrough.apply(weight, self.mask)  # pyright: ignore[reportReturnType]


class _Clip(TrainHook):
    """Real weights stay in [-1, 1], beyond which they would change nothing (Section 2.4)."""

    name = "clip"

    def __init__(self, weights: list[str]) -> None:
        self._names = weights
        self._weights: list[nn.Parameter] = []

    def attach(self, run: TrainRun) -> None:
        parameters = dict(run.model.named_parameters())
        self._weights = [parameters[name] for name in self._names]

    def after_step(self, step: Step) -> None:  # noqa: ARG002
        with torch.no_grad():
            for weight in self._weights:
                weight.clamp_(-1.0, 1.0)


def binarise(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> Training:
    """Make the layers named by ``masks`` binary while they are trained, and for good when the training is over.

    Args:
        masks: module name → bool of its weight's shape, False where the weight is 0 instead of ±scale.
    """
    modules = dict(model.named_modules())
    for name, mask in masks.items():
        parametrize.register_parametrization(modules[name], "weight", Binarised(mask), unsafe=True)

    def finalise() -> None:
        for name in masks:
            parametrize.remove_parametrizations(modules[name], "weight", leave_parametrized=True)

    return Training([_Clip([f"{name}.parametrizations.weight.original" for name in masks])], finalise)


def _training(job: Job, options: BinaryOptions) -> Training:
    order = layers_in_order(job.model, job.example)
    if options.layers == "kernels":
        chosen = [name for name, _ in spatial_kernels(job.model, job.example, options.first)]
    else:
        chosen = [name for name, _ in (order[1:-1] if options.layers == "inner" else order)]
    if not chosen:
        raise InputError(
            "no layer is left to make binary",
            where=f"--method binary?layers={options.layers}",
            remedy="choose binary?layers=all",
        )
    modules = dict(order)
    return binarise(job.model, {name: torch.ones_like(modules[name].weight, dtype=torch.bool) for name in chosen})


METHOD = Method(
    name="binary",
    title="Trains weights of ±1 times a scale per output channel.",
    source="Courbariaux et al. 2015, BinaryConnect, Algorithm 1; scale of Rastegari et al. 2016, XNOR-Net, Eq. 6",
    use="Where weights do not fit the memory or its bandwidth; `guided` with `--binary` for fewer operations as well.",
    training=_training,
    start="fresh",
    finish="keep",
    instead="it leaves every weight, of one bit",
    options=BinaryOptions,
)
