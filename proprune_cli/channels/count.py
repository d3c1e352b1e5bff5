"""Multiply-accumulates and parameters of a network as functions of how many channels each group keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from proprune_cli.channels.groups import ChannelMap
from proprune_cli.channels.labels import LayerRecord
from proprune_cli.work.layer import LayerWork, Survivors, of_one_bit

Shares = npt.NDArray[np.float64]
Sizes = npt.NDArray[np.int64]
"""Kept channels, one number per group of the channel map."""


class CostTable:
    """Every axis of every parameter is a constant plus a multiple of each group's size; costs are products of axes."""

    def __init__(self, channels: ChannelMap) -> None:
        self.full: Sizes = np.array([g.channels for g in channels.groups], dtype=np.int64)
        self._layers = channels.layers
        self._shapes = channels.shapes
        self._factors: dict[tuple[str, int], Sizes] = {}
        for number, group in enumerate(channels.groups):
            for member in group.members:
                factors = self._factors.setdefault(
                    (member.tensor, member.dim), np.zeros(len(channels.groups), dtype=np.int64)
                )
                factors[number] += member.index.shape[1]

    def extent(self, tensor: str, dim: int, default: int, sizes: Sizes) -> int:
        """Length of an axis; ``default`` where no group touches it."""
        factors = self._factors.get((tensor, dim))
        return default if factors is None else int(factors @ sizes)

    def params(self, sizes: Sizes) -> int:
        """Trainable parameters."""
        total = 0
        for name, shape in self._shapes.items():
            numbers = [self.extent(name, dim, length, sizes) for dim, length in enumerate(shape)]
            total += int(np.prod(numbers, dtype=np.int64))
        return total

    def layers(self, sizes: Sizes) -> list[LayerWork]:
        """Every convolution and fully connected layer at these sizes."""
        return [self._layer(record, sizes) for record in self._layers]

    def shares(self) -> tuple[Shares, Shares]:
        """How layers' sizes follow those of groups: float64 [layers, groups + 1] each, which make of sizes and a 1 the
        shares of each layer's input and output channels that remain. Where whole groups of a convolution go, both are
        one share.
        """
        found: list[tuple[Shares, Shares]] = []
        for record in self._layers:
            inside, out = (self._share(record.weight, dim) for dim in (record.in_dim, record.out_dim))
            if record.whole_groups:
                inside = out = inside if record.work.kind == "conv_transpose" else out
            found.append((inside, out))
        return np.array([f[0] for f in found]), np.array([f[1] for f in found])

    def _share(self, tensor: str, dim: int) -> Shares:
        factors = self._factors.get((tensor, dim))
        if factors is None:  # no group touches it
            return np.append(np.zeros(len(self.full)), 1.0)
        return np.append(factors / float(factors @ self.full), 0.0)

    def surviving(self, tensors: Mapping[str, torch.Tensor]) -> list[LayerWork]:
        """Every layer as it is, with which of its weights are not zero.

        Args:
            tensors: parameters by qualified name.
        """
        return [replace(r.work, survivors=_survivors(r, tensors[r.weight])) for r in self._layers]

    def macs(self, sizes: Sizes) -> int:
        """Multiply-accumulates per image."""
        return sum(layer.macs for layer in self.layers(sizes))

    def _layer(self, record: LayerRecord, sizes: Sizes) -> LayerWork:
        full = record.work
        groups = full.groups
        if record.whole_groups and full.kind == "conv_transpose":
            inside = self.extent(record.weight, record.in_dim, full.in_channels, sizes)
            groups = groups * inside // full.in_channels
            out = full.out_channels * groups // full.groups
        elif record.whole_groups:
            out = self.extent(record.weight, record.out_dim, full.out_channels, sizes)
            groups = groups * out // full.out_channels
            inside = full.in_channels * groups // full.groups
        else:
            out = self.extent(record.weight, record.out_dim, full.out_channels, sizes)
            # A fully connected layer's weight has a column for each pixel that it reads of a channel.
            pixels = math.prod(full.kernel) if full.kind == "linear" else 1
            inside = groups * self.extent(record.weight, record.in_dim, full.in_channels * pixels // groups, sizes)
            inside //= pixels
        if not out * inside:  # nothing of it is left
            return replace(full, in_channels=0, out_channels=0, groups=1, macs=0)
        macs = record.positions * out * inside // groups
        return replace(full, in_channels=inside, out_channels=out, groups=groups, macs=macs)


def _survivors(record: LayerRecord, weight: torch.Tensor) -> Survivors | None:
    """Which weights of a layer are not zero; None where none is, and they are not of one bit."""
    work = record.work
    values = weight.detach().cpu().double()
    if values.ndim == 2 and record.out_dim == 1:
        values = values.T
    elif work.kind == "conv_transpose":
        share = work.in_channels // work.groups
        values = values.reshape(work.groups, share, -1, *values.shape[2:]).transpose(1, 2)
    rows = values.reshape(work.out_channels, -1).numpy()
    nonzero = rows != 0
    # The compiler keeps no transposed convolution's weights in one bit.
    one_bit = work.kind != "conv_transpose" and of_one_bit(rows, work.groups)
    if nonzero.all() and not one_bit:
        return None
    return Survivors(nonzero.reshape(work.out_channels, work.in_channels // work.groups, -1), one_bit)
