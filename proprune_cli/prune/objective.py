"""How pruning sees hardware: through this protocol and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class LayerShape:
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


class CostModel(Protocol):
    """Figure to be lowered, for example predicted latency."""

    @property
    def name(self) -> str:
        """What the figure is."""
        ...

    @property
    def unit(self) -> str:
        """Unit of the figure."""
        ...

    def cost(self, layers: Sequence[LayerShape]) -> float:
        """Figure for the whole network; must not grow when channels are removed by whole groups of the array."""
        ...
