"""LeNet-5 as in Caffe: 20 and 50 maps, 500 units (LeCun et al. 1998, with ReLU and max pooling)."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.nets.zoo.layers import initialise, parse_widths, require_size


class LeNet5(nn.Module):
    """conv5 → pool → conv5 → pool → 500 → classes; an image of at least 16 pixels."""

    def __init__(self, in_channels: int, classes: int, size: tuple[int, int], widths: list[int]) -> None:
        super().__init__()
        c1, c2, c3 = widths
        self.conv1 = nn.Conv2d(in_channels, c1, 5)
        self.conv2 = nn.Conv2d(c1, c2, 5)
        height, width = (((s - 4) // 2 - 4) // 2 for s in size)
        self.fc1 = nn.Linear(c2 * height * width, c3)
        self.fc2 = nn.Linear(c3, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nnf.max_pool2d(nnf.relu(self.conv1(x)), 2)
        x = nnf.max_pool2d(nnf.relu(self.conv2(x)), 2)
        return self.fc2(nnf.relu(self.fc1(torch.flatten(x, 1))))


def lenet5(in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = "") -> nn.Module:
    """LeNet-5; ``widths``: the three hidden layers.

    Raises:
        InputError: the image is smaller than 16 pixels.
    """
    require_size("lenet5", size, 16)
    return initialise(LeNet5(in_channels, classes, size, parse_widths(widths, (20, 50, 500), width)))
