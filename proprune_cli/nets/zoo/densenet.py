"""DenseNets (Huang et al. 2017): every layer's output is concatenated to its input."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.nets.zoo.layers import initialise, is_small, require_size, scaled

BOTTLENECK = 4
"""Channels of a bottleneck's 1×1 convolution for each channel of growth (Section 3, "Bottleneck layers")."""


class DenseLayer(nn.Module):
    """Norm, ReLU, 3×3 convolution to ``growth`` channels, after a 1×1 bottleneck where asked; concatenated to x."""

    def __init__(self, cin: int, growth: int, bottleneck: bool) -> None:
        super().__init__()
        middle = BOTTLENECK * growth if bottleneck else cin
        self.reduce = (
            nn.Sequential(nn.BatchNorm2d(cin), nn.ReLU(), nn.Conv2d(cin, middle, 1, bias=False))
            if bottleneck
            else nn.Identity()
        )
        self.norm = nn.BatchNorm2d(middle)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(middle, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.conv(self.relu(self.norm(self.reduce(x))))], 1)


class DenseNet(nn.Module):
    """Stem, dense blocks joined by 1×1 transitions with average pooling, norm, global average, classifier."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        depths: tuple[int, ...],
        growth: int,
        stem: int,
        bottleneck: bool,
        compression: float,
        small: bool,
    ) -> None:
        super().__init__()
        if small:
            layers: list[nn.Module] = [nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)]
        else:
            layers = [
                nn.Conv2d(in_channels, stem, 7, 2, padding=3, bias=False),
                nn.BatchNorm2d(stem),
                nn.ReLU(),
                nn.MaxPool2d(3, 2, padding=1),
            ]
        channels = stem
        for index, depth in enumerate(depths):
            for _ in range(depth):
                layers.append(DenseLayer(channels, growth, bottleneck))
                channels += growth
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            if index < len(depths) - 1:
                reduced = int(channels * compression)
                layers += [nn.Conv2d(channels, reduced, 1, bias=False), nn.AvgPool2d(2)]
                channels = reduced
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nnf.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


def densenet40(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, growth: int = 12, stem: str = "auto"
) -> nn.Module:
    """DenseNet of 40 layers without bottleneck or compression (Table 2).

    ``growth``: channels that a layer adds, times ``width``.
    ``stem``: ``small`` (3×3), ``large`` (7×7 and pooling), or ``auto``, small up to 64 pixels.

    Raises:
        InputError: the image is smaller than 4 pixels, or an unknown stem.
    """
    require_size("densenet40", size, 4)
    first, grown = scaled((16, growth), width)
    return initialise(
        DenseNet(in_channels, classes, (12, 12, 12), grown, first, False, 1.0, is_small(size, stem)),
    )


def densenet121(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, growth: int = 32, stem: str = "auto"
) -> nn.Module:
    """DenseNet-121 with bottlenecks and compression by half (Table 1); arguments as for densenet40.

    Raises:
        InputError: the image is smaller than 8 pixels, or an unknown stem.
    """
    require_size("densenet121", size, 8)
    first, grown = scaled((2 * growth, growth), width)
    return initialise(
        DenseNet(in_channels, classes, (6, 12, 24, 16), grown, first, True, 0.5, is_small(size, stem)),
    )
