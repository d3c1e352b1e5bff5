"""ShuffleNetV2 (Ma et al. 2018, Table 5): half of the channels pass by, then all are shuffled."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.nets.zoo.layers import conv_bn, conv_relu, initialise, is_small

_WIDTHS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""Channels of the three stages and of the last convolution, for each width that the paper names."""

_STEM = 24
_DEPTHS = (4, 8, 4)


def shuffle_halves(x: torch.Tensor) -> torch.Tensor:
    """Channels 0 … C/2 − 1 and C/2 … C − 1 in turn: 0, C/2, 1, C/2 + 1, …"""
    _, channels, height, width = x.shape
    return x.reshape(-1, 2, channels // 2, height, width).transpose(1, 2).reshape(-1, channels, height, width)


def _branch(cin: int, cout: int, stride: int) -> nn.Sequential:
    return nn.Sequential(conv_relu(cin, cout, 1), conv_bn(cout, cout, 3, stride, groups=cout), conv_relu(cout, cout, 1))


class Unit(nn.Module):
    """The basic unit (Fig. 3 c): one half of the channels is convolved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = _branch(channels // 2, channels // 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        passed, taken = x.chunk(2, 1)
        return shuffle_halves(torch.cat([passed, self.branch(taken)], 1))


class DownUnit(nn.Module):
    """The unit for downsampling (Fig. 3 d): both branches see all channels."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        half = cout // 2
        self.shortcut = nn.Sequential(conv_bn(cin, cin, 3, 2, groups=cin), conv_relu(cin, half, 1))
        self.branch = _branch(cin, half, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return shuffle_halves(torch.cat([self.shortcut(x), self.branch(x)], 1))


class ShuffleNetV2(nn.Module):
    """Stem, three stages, 1×1 convolution, global average, classifier."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...], small: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_relu(in_channels, _STEM, 3, 1 if small else 2)]
        if not small:
            layers.append(nn.MaxPool2d(3, 2, padding=1))
        cin = _STEM
        for depth, cout in zip(_DEPTHS, widths, strict=False):
            layers += [DownUnit(cin, cout), *(Unit(cout) for _ in range(depth - 1))]
            cin = cout
        self.features = nn.Sequential(*layers, conv_relu(cin, widths[-1], 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.features(x)), 1))


def shufflenetv2(
    in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, stem: str = "auto"
) -> nn.Module:
    """ShuffleNetV2; ``width``: 0.5, 1, 1.5 or 2.

    ``stem``: ``large``, ``small`` (the first two halvings are left out), or ``auto``, small up to 64 pixels.

    Raises:
        InputError: another width, or an unknown stem.
    """
    if width not in _WIDTHS:
        raise InputError(
            f"shufflenetv2 has no width {width:g}",
            where="--model",
            remedy="choose one of " + ", ".join(f"{w:g}" for w in _WIDTHS),
        )
    return initialise(ShuffleNetV2(in_channels, classes, _WIDTHS[width], is_small(size, stem)))
