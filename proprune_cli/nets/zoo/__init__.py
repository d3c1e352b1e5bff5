"""The built-in networks. A new one: one file here and one line in `ZOO`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from proprune_cli.nets.zoo.densenet import densenet40, densenet121
from proprune_cli.nets.zoo.efficientnet_lite import efficientnet_lite0
from proprune_cli.nets.zoo.lenet import lenet5
from proprune_cli.nets.zoo.mobilenetv1 import mobilenetv1
from proprune_cli.nets.zoo.mobilenetv2 import mobilenetv2
from proprune_cli.nets.zoo.resnet import resnet18, resnet34, resnet50
from proprune_cli.nets.zoo.resnet_cifar import resnet8, resnet20
from proprune_cli.nets.zoo.segnet import segnet
from proprune_cli.nets.zoo.shufflenetv2 import shufflenetv2
from proprune_cli.nets.zoo.squeezenet import squeezenet
from proprune_cli.nets.zoo.unet import unet
from proprune_cli.nets.zoo.vgg import vgg16, vgg19

ZOO: dict[str, Callable[..., nn.Module]] = {
    "lenet5": lenet5,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "densenet40": densenet40,
    "densenet121": densenet121,
    "mobilenetv1": mobilenetv1,
    "mobilenetv2": mobilenetv2,
    "squeezenet": squeezenet,
    "shufflenetv2": shufflenetv2,
    "efficientnet-lite0": efficientnet_lite0,
    "unet": unet,
    "segnet": segnet,
}
"""Name → factory ``(in_channels, classes, size, *, width=1.0, …)``."""
