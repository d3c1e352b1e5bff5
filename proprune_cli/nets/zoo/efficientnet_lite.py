"""EfficientNet-Lite0: EfficientNet-B0 (Tan & Le 2019, Table 1) without squeeze-and-excitation and with ReLU6."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import InvertedResidual, conv_relu6, divisible, initialise, is_small, scaled

_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, channels, blocks, stride of the first block, kernel."""

_STEM, _HEAD = 32, 1280
"""The Lite variants do not scale these with the width."""


class EfficientNetLite(nn.Module):
    """Stem, seven stages of inverted residuals, 1×1 convolution, global average, classifier."""

    def __init__(self, in_channels: int, classes: int, width: float, small: bool) -> None:
        super().__init__()
        scaled((1,), width)  # refuses a width that is no positive number
        channels = divisible([stage[1] for stage in _STAGES], width)
        layers: list[nn.Module] = [conv_relu6(in_channels, _STEM, 3, 1 if small else 2)]
        cin = _STEM
        for index, ((expansion, _, blocks, stride, kernel), cout) in enumerate(zip(_STAGES, channels, strict=True)):
            first = 1 if small and index == 1 else stride
            for block in range(blocks):
                layers.append(InvertedResidual(cin, cout, 1 if block else first, expansion, kernel))
                cin = cout
        self.features = nn.Sequential(*layers, conv_relu6(cin, _HEAD, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(_HEAD, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def efficientnet_lite0(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, stem: str = "auto"
) -> nn.Module:
    """EfficientNet-Lite0; channels are multiples of 8 for every ``width``.

    ``stem``: ``large``, ``small`` (the first two halvings are left out), or ``auto``, small up to 64 pixels.

    Raises:
        InputError: unknown stem, or a width that is no positive number.
    """
    return initialise(EfficientNetLite(in_channels, classes, width, is_small(size, stem)))
