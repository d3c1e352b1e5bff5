"""ResNets for ImageNet-like images (He et al. 2016, Table 1), with a 3×3 stem for small ones."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.nets.zoo.layers import SMALL_IMAGE, BasicBlock, conv_bn, initialise, parse_widths

_WIDTHS = (64, 128, 256, 512)

EXPANSION = 4
"""Output channels of a bottleneck for each of its middle channels."""


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut; the 3×3 one has the stride (He et al. 2016, Fig. 5)."""

    def __init__(self, cin: int, middle: int, stride: int) -> None:
        super().__init__()
        cout = middle * EXPANSION
        self.conv1 = nn.Conv2d(cin, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, cout, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = conv_bn(cin, cout, 1, stride) if stride != 1 or cin != cout else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, four stages, global average, classifier."""

    def __init__(
        self, in_channels: int, classes: int, depths: tuple[int, ...], bottleneck: bool, widths: list[int], small: bool
    ) -> None:
        super().__init__()
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(in_channels, widths[0], kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        block = Bottleneck if bottleneck else BasicBlock
        cin = widths[0]
        stages: list[nn.Module] = []
        for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            cout = width * EXPANSION if bottleneck else width
            first = block(cin, width, 1 if index == 0 else 2)
            stages.append(nn.Sequential(first, *(block(cout, width, 1) for _ in range(depth - 1))))
            cin = cout
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(cin, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _is_small(model: str, size: tuple[int, int], stem: str) -> bool:
    if stem not in ("auto", "7x7", "3x3"):
        raise InputError(f"{stem!r} is no stem of {model}", where="--model", remedy="choose auto, 7x7 or 3x3")
    return stem == "3x3" or (stem == "auto" and max(size) <= SMALL_IMAGE)


def resnet18(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = "", stem: str = "auto"
) -> nn.Module:
    """ResNet-18; ``widths``: the four stages.

    ``stem``: ``7x7``, ``3x3`` (no pooling), or ``auto``, 3×3 up to 64 pixels.

    Raises:
        InputError: unknown stem.
    """
    small = _is_small("resnet18", size, stem)
    return initialise(ResNet(in_channels, classes, (2, 2, 2, 2), False, parse_widths(widths, _WIDTHS, width), small))


def resnet34(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = "", stem: str = "auto"
) -> nn.Module:
    """ResNet-34; arguments as for ResNet-18.

    Raises:
        InputError: unknown stem.
    """
    small = _is_small("resnet34", size, stem)
    return initialise(ResNet(in_channels, classes, (3, 4, 6, 3), False, parse_widths(widths, _WIDTHS, width), small))


def resnet50(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = "", stem: str = "auto"
) -> nn.Module:
    """ResNet-50; ``widths``: the middle channels of the four stages' bottlenecks; ``stem`` as for ResNet-18.

    Raises:
        InputError: unknown stem.
    """
    small = _is_small("resnet50", size, stem)
    return initialise(ResNet(in_channels, classes, (3, 4, 6, 3), True, parse_widths(widths, _WIDTHS, width), small))
