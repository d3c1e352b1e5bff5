"""VGG-16 and VGG-19 with batch norm (Simonyan & Zisserman 2015, configurations D and E)."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import conv_relu, initialise, parse_widths, require_size

STAGES_16 = (2, 2, 3, 3, 3)
STAGES_19 = (2, 2, 4, 4, 4)
_STAGE_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """3×3 convolutions in five pooled stages; the head depends on the image."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        size: tuple[int, int],
        stages: tuple[int, ...],
        widths: list[int],
        hidden: list[int],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        cin, index = in_channels, 0
        for convs in stages:
            for _ in range(convs):
                layers += conv_relu(cin, widths[index], 3)
                cin, index = widths[index], index + 1
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        features = cin * (size[0] // 32) * (size[1] // 32)
        head: list[nn.Module] = []
        for units in hidden:
            head += [nn.Linear(features, units), nn.ReLU(inplace=True), nn.Dropout()]
            features = units
        self.classifier = nn.Sequential(*head, nn.Linear(features, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


def conv_widths(stages: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of every convolution of five stages."""
    return tuple(w for w, count in zip(_STAGE_WIDTHS, stages, strict=True) for _ in range(count))


def _vgg(
    in_channels: int,
    classes: int,
    size: tuple[int, int],
    stages: tuple[int, ...],
    width: float,
    widths: str,
    hidden: str,
) -> nn.Module:
    units = parse_widths(hidden, (4096, 4096) if min(size) >= 224 else (512, 512), width)
    channels = parse_widths(widths, conv_widths(stages), width)
    return initialise(VGG(in_channels, classes, size, stages, channels, units))


def vgg16(
    in_channels: int,
    classes: int,
    size: tuple[int, int],
    *,
    width: float = 1.0,
    widths: str = "",
    hidden: str = "",
) -> nn.Module:
    """VGG-16; ``widths``: the thirteen convolutions; ``hidden``: the two fully connected layers.

    The head has 4096 units from 224 pixels on and 512 below.

    Raises:
        InputError: the image is smaller than 32 pixels.
    """
    require_size("vgg16", size, 32)
    return _vgg(in_channels, classes, size, STAGES_16, width, widths, hidden)


def vgg19(
    in_channels: int,
    classes: int,
    size: tuple[int, int],
    *,
    width: float = 1.0,
    widths: str = "",
    hidden: str = "",
) -> nn.Module:
    """VGG-19; ``widths``: the sixteen convolutions; ``hidden`` and the head as for VGG-16.

    Raises:
        InputError: the image is smaller than 32 pixels.
    """
    require_size("vgg19", size, 32)
    return _vgg(in_channels, classes, size, STAGES_19, width, widths, hidden)
