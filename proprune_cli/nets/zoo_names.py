"""Names of the built-in networks. Nothing is imported for them."""

from __future__ import annotations

ZOO_FILES = {
    "lenet5": "lenet",
    "resnet8": "resnet_cifar",
    "resnet20": "resnet_cifar",
    "resnet18": "resnet",
    "resnet34": "resnet",
    "resnet50": "resnet",
    "vgg16": "vgg",
    "vgg19": "vgg",
    "densenet40": "densenet",
    "densenet121": "densenet",
    "mobilenetv1": "mobilenetv1",
    "mobilenetv2": "mobilenetv2",
    "squeezenet": "squeezenet",
    "shufflenetv2": "shufflenetv2",
    "efficientnet-lite0": "efficientnet_lite",
    "unet": "unet",
    "segnet": "segnet",
}
"""Name → file of ``zoo`` with its factory, a function of that name with ``_`` for ``-``."""
