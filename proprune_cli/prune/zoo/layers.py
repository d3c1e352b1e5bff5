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


def conv_bn(cin: int, cout: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, padded to keep the size at stride 1, then batch norm."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(cout),
    )


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
