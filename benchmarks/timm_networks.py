"""timm's networks without torchvision, of which timm takes image transforms and a class of norms, no networks.

A stand-in answers timm's imports of it; networks that touch the stand-in when they run would fail, and none does.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from torch import nn

NAMES = """
resnet18@64 resnet26t@64 resnetv2_50@64 resnext26ts@64 seresnet33ts@64 ecaresnet26t@64 gcresnext26ts@64 skresnet18@64
resnest14d@64 res2net50_26w_4s@64 regnetx_002@64 regnety_002@64 regnetz_b16@64 densenet121@64 dla34@64 dpn48b@64
vovnet39a@64 ese_vovnet19b_dw@64 cspresnet50@64 cspdarknet53@64 darknet53@64 hardcorenas_a@64 mobilenetv2_050@64
mobilenetv3_small_050@64 mobilenetv4_conv_small_050@64 efficientnet_lite0@64 efficientnet_b0@64 mixnet_s@64
mnasnet_small@64 semnasnet_075@64 fbnetc_100@64 fbnetv3_b@64 spnasnet_100@64 tinynet_e@64 ghostnet_050@64
ghostnetv2_100@64 lcnet_050@64 rexnet_100@64 repvgg_a0@64 repghostnet_050@64 mobileone_s0@64 selecsls42@64
hrnet_w18_small@64 inception_v3@299 xception41@64 vgg11_bn@64 nf_resnet26@64 nf_regnet_b0@64 convnext_atto@64
convmixer_768_32@64 hgnet_tiny@64 hgnetv2_b0@64 starnet_s1@64 edgenext_xx_small@64 fasternet_t0@64 tresnet_m@64
rdnet_tiny@64 inception_next_atto@64
"""
"""name@pixels; one or two of each family of convolutional networks."""


class _Anything:
    """Whatever name timm asks torchvision for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("torchvision is not here: only timm's networks are used")

    NEAREST, BILINEAR, BICUBIC, BOX, HAMMING, LANCZOS = range(6)
    """Of the enumeration of interpolations, which timm turns into a table."""


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Anything,), {})


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname.partition(".")[0] in ("torchvision", "huggingface_hub"):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _StandIn(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in has nothing to run."""


def create(name: str) -> nn.Module:
    """One of timm's networks with random weights, for ten classes."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())  # behind the others: what is installed is taken as it is
    create_model: Any = importlib.import_module("timm").create_model
    return create_model(name, pretrained=False, num_classes=10)
