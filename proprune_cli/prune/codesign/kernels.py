"""Kernels whose input channels keep positions of their own.

An engine that walks lists of taps lets every input channel have kernel positions of its own, the same for all filters,
and takes as many taps as the channel with most of them. So a kernel has a size: positions of each input channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from proprune_cli.channels.groups import ChannelMap
from proprune_cli.channels.labels import Ids

_CHANNELS = 8
"""Of fewer, lanes serve several positions of one channel already."""


@dataclass(frozen=True)
class Kernel:
    """A convolution whose input channels keep kernel positions of their own.

    Attributes:
        tensor: qualified name of its weight, [out, in, ...]. layers: places of the layers that have it.
        channels: that it reads. positions: of its kernel.
    """

    tensor: str
    layers: tuple[int, ...]
    channels: int
    positions: int


def kernels_of(channels: ChannelMap) -> tuple[Kernel, ...]:
    """Convolutions with more than one kernel position and at least `_CHANNELS` channels to read."""
    found: dict[str, list[int]] = {}
    for place, record in enumerate(channels.layers):
        found.setdefault(record.weight, []).append(place)
    kernels: list[Kernel] = []
    for tensor, places in found.items():
        record, shape = channels.layers[places[0]], channels.shapes.get(tensor, ())
        positions = math.prod(shape[2:])
        plain = record.work.kind == "conv" and record.work.groups == 1 and (record.out_dim, record.in_dim) == (0, 1)
        if plain and positions > 1 and shape[1] >= _CHANNELS:
            kernels.append(Kernel(tensor, tuple(places), shape[1], positions))
    return tuple(kernels)


def ranks_of(weight: torch.Tensor) -> torch.Tensor:
    """Of each input channel's kernel positions, the one with the largest weights first: int64 [in, positions]."""
    worth = weight.detach().abs().sum(dim=0).flatten(1)
    return worth.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def guided_ranks(kernel: Kernel) -> Ids:
    """Ranks that begin at another position for each channel."""
    channel = np.arange(kernel.channels)[:, None]
    return (np.arange(kernel.positions) - channel) % kernel.positions


def kept_weights(channels: ChannelMap, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Masks of what a search left: bool, of the parameters' shapes, False where a weight stays zero.

    Those are kernel positions of an input channel without any weight, and groups of which nothing is left, whose
    channels a network has only because a layer can't have none.
    """
    masks: dict[str, torch.Tensor] = {}

    def mask(name: str) -> torch.Tensor:
        return masks.setdefault(name, torch.ones_like(tensors[name], dtype=torch.bool))

    for kernel in kernels_of(channels):
        used = (tensors[kernel.tensor].detach() != 0).any(dim=0, keepdim=True)
        if not bool(used.all()):
            mask(kernel.tensor).logical_and_(used)
    for group in channels.groups:
        made = [m for m in group.members if m.role == "out" and m.tensor in channels.shapes]
        slices = [(m, torch.from_numpy(m.index.reshape(-1)).to(tensors[m.tensor].device)) for m in made]
        if slices and not any(tensors[m.tensor].index_select(m.dim, index).any() for m, index in slices):
            for member, index in slices:
                mask(member.tensor).index_fill_(member.dim, index, False)
    return masks
