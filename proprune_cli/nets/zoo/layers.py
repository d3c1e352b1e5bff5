"""Pieces shared by the zoo's networks, and the one weight initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from proprune_cli.errors import InputError


def scaled(widths: Sequence[int], width: float) -> list[int]:
    """``widths`` times ``width``, rounded, at least 1 each.

    Raises:
        InputError: ``width`` is no positive number.
    """
    if not (math.isfinite(width) and width > 0):
        raise InputError(f"a width multiplier of {width}", where="--model", remedy="give a positive number")
    return [max(1, round(w * width)) for w in widths]


def parse_widths(text: str, default: Sequence[int], width: float) -> list[int]:
    """Channels per layer: ``"16,32,64"`` when given, else ``default`` times the multiplier ``width``.

    Raises:
        InputError: not as many positive whole numbers as the network needs.
    """
    if not text:
        return scaled(default, width)
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != len(default) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(
            f"widths {text!r} is not {len(default)} positive whole numbers",
            where="--model",
            remedy="write them with commas, for example widths=" + ",".join(map(str, default)),
        )
    return [int(part) for part in parts]


def divisible(widths: Sequence[int], width: float, by: int = 8) -> list[int]:
    """``widths`` times ``width``, each to the nearest multiple of ``by`` that is not more than 10 % smaller.

    The rounding of MobileNetV2's authors (Sandler et al. 2018, their published code).
    """
    out: list[int] = []
    for exact in (w * width for w in widths):
        rounded = max(by, int(exact + by / 2) // by * by)
        out.append(rounded + by if rounded < 0.9 * exact else rounded)
    return out


SMALL_IMAGE = 64
"""Images of at most this many pixels a side take the stem without downsampling."""


def is_small(size: tuple[int, int], stem: str = "auto") -> bool:
    """Whether a network drops its first two halvings: ``stem`` is ``small``, or ``auto`` and the image is small.

    Raises:
        InputError: ``stem`` is neither ``small``, ``large`` nor ``auto``.
    """
    if stem not in ("auto", "small", "large"):
        raise InputError(f"{stem!r} is no stem", where="--model", remedy="choose auto, small or large")
    return stem == "small" or (stem == "auto" and max(size) <= SMALL_IMAGE)


def require_size(model: str, size: tuple[int, int], least: int, multiple: int = 1) -> None:
    """Check that the image is large enough for ``model``.

    Raises:
        InputError: it has fewer than ``least`` pixels a side, or a side that is no multiple of ``multiple``.
    """
    if min(size) < least or any(s % multiple for s in size):
        need = f"{least} or more" + (f", a multiple of {multiple}" if multiple > 1 else "")
        raise InputError(
            f"{model} cannot take images of {size[0]}×{size[1]} pixels",
            where="--model",
            remedy=f"give {need}, for example --data 'digits?size={least}', or another model",
        )


def conv_bn(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, padded to keep the size at stride 1, then batch norm."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    )


def conv_relu(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """:func:`conv_bn`, then ReLU."""
    return nn.Sequential(*conv_bn(cin, cout, kernel, stride, groups), nn.ReLU(inplace=True))


def conv_relu6(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """:func:`conv_bn`, then ReLU6."""
    return nn.Sequential(*conv_bn(cin, cout, kernel, stride, groups), nn.ReLU6(inplace=True))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2016, Fig. 2; projection shortcut, option B)."""

    def __init__(self, cin: int, cout: int, stride: int, middle: int | None = None) -> None:
        super().__init__()
        middle = cout if middle is None else middle
        self.conv1 = nn.Conv2d(cin, middle, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, cout, 3, 1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = conv_bn(cin, cout, 1, stride) if stride != 1 or cin != cout else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise convolution, linear 1×1 projection (Sandler et al. 2018, Fig. 3 and Table 1)."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int, kernel: int = 3) -> None:
        super().__init__()
        middle = cin * expansion
        expand = [] if expansion == 1 else [conv_relu6(cin, middle, 1)]
        self.layers = nn.Sequential(
            *expand, conv_relu6(middle, middle, kernel, stride, groups=middle), conv_bn(middle, cout, 1)
        )
        self.residual = stride == 1 and cin == cout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def initialise(model: nn.Module) -> nn.Module:
    """Fresh weights for every layer, from torch's global generator; returns ``model``.

    Convolutions: normal with variance 2 / fan-out (He et al. 2015, Eq. 14). Fully connected: uniform within
    1/sqrt(fan-in), bias 0. Norms and every other layer: its own ``reset_parameters``.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                nn.init.zeros_(module.bias)
        else:
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return model
