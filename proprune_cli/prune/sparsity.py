"""Counts of the weights that are not zero, and of the multiplications that they cost."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten


def nonzero_params(model: nn.Module) -> int:
    """Trainable parameters that are not zero."""
    return sum(int((p != 0).sum()) for p in model.parameters())


class _Idle(TorchDispatchMode):
    """Adds up the multiply-accumulates with a weight of zero, of whatever calls a convolution or a matrix product."""

    def __init__(self, model: nn.Module, images: int) -> None:
        super().__init__()
        self.macs = 0
        self._images = images
        self._storages = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func == _ATEN.convolution.default:
            # A transposed convolution applies each weight at every input pixel, any other at every output pixel.
            self._count(args[1], math.prod((args[0] if args[6] else result).shape[2:]))
        elif func in (_ATEN.mm.default, _ATEN.addmm.default, _ATEN.linear.default):
            weight = args[2] if func == _ATEN.addmm.default else args[1]
            self._count(weight, math.prod(result.shape[:-1]) // self._images)
        return result

    def _count(self, weight: torch.Tensor, applied: int) -> None:
        if weight.untyped_storage().data_ptr() in self._storages:
            self.macs += int((weight == 0).sum()) * applied


def idle_macs(model: nn.Module, example: torch.Tensor) -> int:
    """Multiply-accumulates per image whose weight is zero, in convolutions and fully connected layers.

    They are dense MACs less non-zero MACs as `proprune_cli.work.macs` defines them.

    Args:
        example: a batch of images, [N, ...].
    """
    model.eval()
    with torch.no_grad(), _Idle(model, len(example)) as counter:
        model(example)
    return counter.macs
