"""VGG-16 with batch norm (Simonyan & Zisserman 2015, configuration D)."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.prune.zoo.layers import initialise, parse_widths

_STAGES = (2, 2, 3, 3, 3)
_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


class VGG16(nn.Module):
    """Thirteen 3×3 convolutions in five pooled stages; the head depends on the image."""

    def __init__(
        self, in_channels: int, classes: int, size: tuple[int, int], widths: list[int], hidden: list[int]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        cin, index = in_channels, 0
        for convs in _STAGES:
            for _ in range(convs):
                cout = widths[index]
                layers += [
                    nn.Conv2d(cin, cout, 3, padding=1, bias=False),
                    nn.BatchNorm2d(cout),
                    nn.ReLU(inplace=True),
                ]
                cin, index = cout, index + 1
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
    if min(size) < 32:
        raise InputError(
            f"vgg16 cannot take images of {size[0]}×{size[1]} pixels",
            where="--model",
            remedy="give 32 or more, for example --data 'digits?size=32', or another model",
        )
    units = parse_widths(hidden, (4096, 4096) if min(size) >= 224 else (512, 512), width)
    return initialise(VGG16(in_channels, classes, size, parse_widths(widths, _WIDTHS, width), units))
