"""A network with the normalisation that it was trained behind, so that it takes images as the data set gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Normalised(nn.Module):
    """``network(x * scale + shift)``, a scale and a shift for each channel.

    Args:
        network: takes normalised images [N, C, H, W].
        scale, shift: C numbers each.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: nn.Module, scale: Sequence[float], shift: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> Any:
        """Images as the data set gives them: uint8 or float32."""
        return self.network(x * self.scale + self.shift)
