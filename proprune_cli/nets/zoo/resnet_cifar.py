"""Residual networks for small images: 6n+2 layers in three stages (He et al. 2016, Section 4.2)."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import BasicBlock, initialise, parse_widths


class ResNetCifar(nn.Module):
    """3×3 stem, three stages of ``blocks`` blocks at strides 1, 2, 2, global average, classifier."""

    def __init__(self, in_channels: int, classes: int, blocks: int, widths: list[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        cin = widths[0]
        stages: list[nn.Module] = []
        for index, cout in enumerate(widths):
            first = BasicBlock(cin, cout, 1 if index == 0 else 2)
            stages.append(nn.Sequential(first, *(BasicBlock(cout, cout, 1) for _ in range(blocks - 1))))
            cin = cout
        self.layer1, self.layer2, self.layer3 = stages
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(cin, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


def resnet8(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = ""
) -> nn.Module:
    """One block per stage; ``widths``: the three stages."""
    del size
    return initialise(ResNetCifar(in_channels, classes, 1, parse_widths(widths, (16, 32, 64), width)))


def resnet20(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = ""
) -> nn.Module:
    """Three blocks per stage; ``widths``: the three stages."""
    del size
    return initialise(ResNetCifar(in_channels, classes, 3, parse_widths(widths, (16, 32, 64), width)))
