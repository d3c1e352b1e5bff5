"""Guided pruning: one kernel position per input channel, known in advance (Boukli Hacene et al. 2018, Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.prune.methods.binary import binarise
from proprune_cli.prune.methods.common.base import Job, Method, Training
from proprune_cli.prune.methods.common.kernels import spatial_kernels
from proprune_cli.spec.options import option
from proprune_cli.train.masks import Masks


@dataclass(frozen=True)
class GuidedOptions:
    """Options of `guided`."""

    first: str = option(
        "auto",
        "the first layer: `prune`, `keep` dense, or `auto`: pruned where it has as many input channels as kernel "
        "positions, which the paper asks for",
        choices=("auto", "prune", "keep"),
    )


def guided_mask(layer: nn.Conv2d) -> torch.Tensor:
    """Weights that stay: bool [out, in / groups, rows, columns].

    Of every slice, the position (ι, λ) stays for which ι + λ·ι_max ≡ k (mod ι_max·λ_max), with k the input channel
    (Eq. 1; ι counts rows, λ columns). Any kernel shape; stride, padding and dilation do not matter.
    """
    rows, columns = layer.kernel_size
    outs, per_group = layer.weight.shape[:2]
    group = torch.arange(outs) // (outs // layer.groups)
    channel = group[:, None] * per_group + torch.arange(per_group)[None, :]
    kept = channel % (rows * columns)
    position = torch.arange(rows)[:, None] + torch.arange(columns)[None, :] * rows
    return position == kept[:, :, None, None]


def guided_masks(model: nn.Module, example: torch.Tensor, first: str = "auto") -> dict[str, torch.Tensor]:
    """Masks of all layers of ``model`` that guided pruning acts on, by the name of the weight.

    Raises:
        InputError: the network has no such layer.
    """
    masks = {f"{name}.weight": guided_mask(layer) for name, layer in spatial_kernels(model, example, first)}
    if not masks:
        raise InputError(
            "guided pruning finds no convolution with a kernel larger than 1×1",
            where="--method guided",
            remedy="depthwise layers, and a first layer with few channels, are left alone; choose another method",
        )
    return masks


def _training(job: Job, options: GuidedOptions) -> Training:
    masks = guided_masks(job.model, job.example, options.first)
    if not job.options.binary:
        return Training([Masks(masks)])
    return binarise(job.model, {name.removesuffix(".weight"): mask for name, mask in masks.items()})


METHOD = Method(
    name="guided",
    title="Keeps one position of every kernel slice, which the input channel's number decides, from the start on; "
    "`--binary` makes the weights that stay ±1 times a scale per output channel.",
    source="Boukli Hacene et al. 2018, Quantized Guided Pruning for Efficient Hardware Implementations of "
    "Convolutional Neural Networks, Eq. 1",
    use="Networks of 3×3 convolutions: nine times fewer operations in them, which the engine turns into time.",
    training=_training,
    start="fresh",
    finish="keep",
    instead="it keeps one position of every kernel slice",
    options=GuidedOptions,
)
