"""MobileNetV2 (Sandler et al. 2018, Table 2): inverted residuals with linear bottlenecks."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import InvertedResidual, conv_relu6, divisible, initialise, is_small, scaled

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first block."""


class MobileNetV2(nn.Module):
    """Stem, seven stages of inverted residuals, 1×1 convolution, global average, classifier."""

    def __init__(self, in_channels: int, classes: int, width: float, small: bool) -> None:
        super().__init__()
        scaled((1,), width)  # refuses a width that is no positive number
        stem, *channels = divisible([32, *(stage[1] for stage in _STAGES)], width)
        last = divisible((1280,), max(1.0, width))[0]
        layers: list[nn.Module] = [conv_relu6(in_channels, stem, 3, 1 if small else 2)]
        cin = stem
        for index, ((expansion, _, blocks, stride), cout) in enumerate(zip(_STAGES, channels, strict=True)):
            first = 1 if small and index == 1 else stride
            for block in range(blocks):
                layers.append(InvertedResidual(cin, cout, 1 if block else first, expansion))
                cin = cout
        self.features = nn.Sequential(*layers, conv_relu6(cin, last, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def mobilenetv2(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, stem: str = "auto"
) -> nn.Module:
    """MobileNetV2; channels are multiples of 8 for every ``width``, and the last 1×1 convolution never shrinks.

    ``stem``: ``large``, ``small`` (the first two halvings are left out), or ``auto``, small up to 64 pixels.

    Raises:
        InputError: unknown stem, or a width that is no positive number.
    """
    return initialise(MobileNetV2(in_channels, classes, width, is_small(size, stem)))
