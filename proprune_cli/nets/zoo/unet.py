"""U-Net (Ronneberger et al. 2015, Fig. 1) with batch norm and padded convolutions: a class for every pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import conv_relu, initialise, parse_widths, require_size

_WIDTHS = (64, 128, 256, 512, 1024)


def _double(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(conv_relu(cin, cout, 3), conv_relu(cout, cout, 3))


class UNet(nn.Module):
    """Four halvings, four 2×2 transposed convolutions back up, each joined with the features of its size."""

    def __init__(self, in_channels: int, classes: int, widths: list[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.stem = _double(in_channels, widths[0])
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(_double(above, below) for above, below in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, 2) for above, below in reversed(pairs))
        self.join = nn.ModuleList(_double(2 * above, above) for above, _ in reversed(pairs))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = [self.stem(x)]
        for down in self.down:
            features.append(down(self.pool(features[-1])))
        x = features.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([features.pop(), up(x)], 1))
        return self.head(x)


def unet(in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = "") -> nn.Module:
    """U-Net, output [N, classes, height, width]; ``widths``: the five levels.

    Raises:
        InputError: the image's sides are not multiples of 16.
    """
    require_size("unet", size, 16, multiple=16)
    return initialise(UNet(in_channels, classes, parse_widths(widths, _WIDTHS, width)))
