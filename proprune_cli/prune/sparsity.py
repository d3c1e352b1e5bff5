"""Counts of the weights that are not zero, and of the multiplications that they cost."""

from __future__ import annotations

import math

import torch
from torch import nn

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def nonzero_params(model: nn.Module) -> int:
    """Trainable parameters that are not zero."""
    return sum(int((p != 0).sum()) for p in model.parameters())


def idle_macs(model: nn.Module, example: torch.Tensor) -> int:
    """Multiply-accumulates per image whose weight is zero, in convolutions and fully connected layers."""
    idle = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal idle
        weight = module.weight
        zeros = int((weight == 0).sum())  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(module, nn.Linear):
            positions = math.prod(output.shape[1:-1])
        elif isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            positions = math.prod(inputs[0].shape[2:])
        else:
            positions = math.prod(output.shape[2:])
        idle += zeros * positions

    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, _LAYERS)]
    try:
        model.eval()
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return idle
