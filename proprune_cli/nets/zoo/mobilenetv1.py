"""MobileNet (Howard et al. 2017, Table 1): depthwise and pointwise convolutions in turn."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import conv_relu, initialise, is_small, parse_widths

_WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class MobileNetV1(nn.Module):
    """A convolution, thirteen depthwise-separable ones, global average, classifier."""

    def __init__(self, in_channels: int, classes: int, widths: list[int], strides: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_relu(in_channels, widths[0], 3, strides[0])]
        for cin, cout, stride in zip(widths, widths[1:], strides[1:], strict=False):
            layers += [conv_relu(cin, cin, 3, stride, groups=cin), conv_relu(cin, cout, 1)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.features(x)), 1))


def mobilenetv1(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = "", stem: str = "auto"
) -> nn.Module:
    """MobileNet; ``widths``: the stem and the thirteen pointwise convolutions.

    ``stem``: ``large``, ``small`` (the first two halvings are left out), or ``auto``, small up to 64 pixels.

    Raises:
        InputError: unknown stem.
    """
    strides: list[int] = list(_STRIDES)
    if is_small(size, stem):
        strides[0] = strides[2] = 1
    return initialise(MobileNetV1(in_channels, classes, parse_widths(widths, _WIDTHS, width), strides))
