"""ResNet-18 for ImageNet-like images (He et al. 2016, Table 1), with a 3×3 stem for small ones."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.prune.zoo.layers import BasicBlock, initialise, parse_widths


class ResNet18(nn.Module):
    """Stem, four stages of two blocks, global average, classifier."""

    def __init__(self, in_channels: int, classes: int, widths: list[int], small: bool) -> None:
        super().__init__()
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(in_channels, widths[0], kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        cin = widths[0]
        stages: list[nn.Module] = []
        for index, cout in enumerate(widths):
            first = BasicBlock(cin, cout, 1 if index == 0 else 2)
            stages.append(nn.Sequential(first, BasicBlock(cout, cout, 1)))
            cin = cout
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(cin, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18(
    in_channels: int,
    classes: int,
    size: tuple[int, int],
    *,
    width: float = 1.0,
    widths: str = "",
    stem: str = "auto",
) -> nn.Module:
    """ResNet-18; ``stem``: ``7x7``, ``3x3`` (no pooling), or ``auto``, 3×3 up to 64 pixels.

    Raises:
        InputError: unknown stem.
    """
    if stem not in ("auto", "7x7", "3x3"):
        raise InputError(f"{stem!r} is no stem of resnet18", where="--model", remedy="choose auto, 7x7 or 3x3")
    small = stem == "3x3" or (stem == "auto" and max(size) <= 64)
    return initialise(ResNet18(in_channels, classes, parse_widths(widths, (64, 128, 256, 512), width), small))
