"""The work of one layer, as pruning, cost models and plans count it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerWork:
    """One convolution or fully connected layer at given channel counts (a fully connected layer is 1×1 on 1×1)."""

    name: str
    kind: str
    """``conv``, ``conv_transpose`` or ``linear``."""
    in_channels: int
    out_channels: int
    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    macs: int
