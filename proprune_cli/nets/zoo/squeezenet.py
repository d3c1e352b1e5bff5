"""SqueezeNet 1.1 (Iandola et al. 2016; version 1.1 is the authors' later release)."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import initialise, is_small, require_size, scaled

_SQUEEZE = (16, 16, 32, 32, 48, 48, 64, 64)
_EXPAND = (64, 64, 128, 128, 192, 192, 256, 256)
_POOL_BEFORE = (0, 2, 4)
"""Fire modules that a pooling precedes."""


class Fire(nn.Module):
    """1×1 squeeze, then 1×1 and 3×3 expansions side by side (Fig. 1)."""

    def __init__(self, cin: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(cin, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.squeeze(x))
        return torch.cat([self.relu(self.expand1(x)), self.relu(self.expand3(x))], 1)


class SqueezeNet(nn.Module):
    """Stem, eight fire modules, a 1×1 convolution to the classes, global average."""

    def __init__(self, in_channels: int, classes: int, width: float, small: bool) -> None:
        super().__init__()
        stem = scaled((64,), width)[0]
        first = nn.Conv2d(in_channels, stem, 3, padding=1) if small else nn.Conv2d(in_channels, stem, 3, 2)
        layers: list[nn.Module] = [first, nn.ReLU(inplace=True)]
        cin = stem
        modules = zip(scaled(_SQUEEZE, width), scaled(_EXPAND, width), strict=True)
        for index, (squeeze, expand) in enumerate(modules):
            if index in _POOL_BEFORE and not (small and index == 0):
                layers.append(nn.MaxPool2d(3, 2))
            layers.append(Fire(cin, squeeze, expand))
            cin = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(cin, classes, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


def squeezenet(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, stem: str = "auto"
) -> nn.Module:
    """SqueezeNet 1.1.

    ``stem``: ``large``, ``small`` (the first two halvings are left out), or ``auto``, small up to 64 pixels.

    Raises:
        InputError: the image is too small, or an unknown stem.
    """
    small = is_small(size, stem)
    require_size("squeezenet", size, 7 if small else 31)
    return initialise(SqueezeNet(in_channels, classes, width, small))
