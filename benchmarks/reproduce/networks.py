"""The dense jet-tagging shape of the hls4ml papers, 16-64-32-32-5, and data of that shape."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import nn

JET_WIDTHS = (64, 32, 32)
LENET_WIDTHS = (20, 50, 500)
"""Hidden layers."""


def jet_mlp(widths: str = "64,32,32") -> nn.Module:
    """16 features → three hidden layers → 5 classes."""
    widths_of = [16, *map(int, widths.split(",")), 5]
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (inside, outside) in enumerate(pairwise(widths_of)):
        layers.append(nn.Linear(inside, outside))
        if number < len(widths_of) - 2:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def jet_like(path: Path, count: int = 20000) -> Path:
    """Synthetic: five classes, each three overlapping Gaussian clusters in 16 features; no real jets."""
    if not path.is_file():
        rng = np.random.default_rng(7)
        centres = rng.normal(scale=0.9, size=(5, 3, 16))
        labels = rng.integers(0, 5, count)
        points = centres[labels, rng.integers(0, 3, count)] + rng.normal(size=(count, 16))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, images=points.astype(np.float32)[:, :, None, None], labels=labels.astype(np.int64))
    return path
