"""The built-in networks. A new one: one file here and one line in `ZOO`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from proprune_cli.prune.zoo.lenet import lenet5
from proprune_cli.prune.zoo.resnet18 import resnet18
from proprune_cli.prune.zoo.resnet_cifar import resnet8, resnet20
from proprune_cli.prune.zoo.vgg import vgg16

ZOO: dict[str, Callable[..., nn.Module]] = {
    "lenet5": lenet5,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "vgg16": vgg16,
}
"""Name → factory ``(in_channels, classes, size, *, width=1.0, …)``."""
