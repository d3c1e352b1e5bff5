"""The networks that benchmarks and differential tests share: the built-in zoo with seeded random weights."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model


@dataclass(frozen=True)
class Network:
    """A zoo network for images of ``channels × size × size``."""

    spec: str
    channels: int
    classes: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.spec}-{self.size}"

    def model(self, seed: int = 0) -> torch.nn.Module:
        """In eval mode.

        Batch-norm statistics are those of two images of noise, disturbed, so that folding them matters and signals
        neither die nor grow on their way through many layers.
        """
        torch.manual_seed(seed)
        model = build_model(self.spec, self.channels, self.classes, self.size, gives="anything")
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the running statistics become those of the one batch
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_(0, 0.2)
        with torch.no_grad():
            model.train()(torch.from_numpy(self.images(2, seed)))
            for norm in norms:
                if norm.running_mean is not None and norm.running_var is not None:
                    norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.5, 1.5)).add_(1e-4)
                    norm.running_mean.add_(
                        norm.running_var.sqrt() * torch.empty_like(norm.running_mean).normal_(0, 0.2)
                    )
        return model.eval()

    def onnx_bytes(self, seed: int = 0) -> bytes:
        """Exported by the TorchScript exporter, which takes a tenth of the other one's time; the tests use both."""
        example = example_input(self.channels, (self.size, self.size))
        names = {"input_names": ["input"], "output_names": ["output"]}
        axes = {name: {0: "batch"} for name in ("input", "output")}
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.model(seed), (example,), file, dynamo=False, opset_version=17, dynamic_axes=axes, **names
            )
        return file.getvalue()

    def onnx_model(self, seed: int = 0) -> onnx.ModelProto:
        return onnx.load_from_string(self.onnx_bytes(seed))

    def images(self, count: int = 8, seed: int = 1) -> NDArray[np.float32]:
        shape = (count, self.channels, self.size, self.size)
        return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


FAMILIES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "vgg16",
    "vgg19",
    "densenet40",
    "densenet121",
    "mobilenetv1",
    "mobilenetv2",
    "squeezenet",
    "shufflenetv2",
    "efficientnet-lite0",
    "unet",
    "segnet",
)
"""Networks of the zoo that take images of any size."""

PER_PIXEL = ("unet", "segnet")
"""Those that give a class for every pixel."""

SMALL = (
    Network("lenet5", 1, 10, 28),
    Network("resnet8", 3, 10, 32),
    Network("resnet20", 3, 10, 32),
    *(Network(spec, 3, 10, 32) for spec in FAMILIES),
)
LARGE = tuple(Network(spec, 3, 21 if spec in PER_PIXEL else 1000, 224) for spec in FAMILIES)
NETWORKS = (*SMALL, *LARGE)
PRUNED = Network("resnet18?width=0.5", 3, 1000, 224)
"""resnet18 with half its channels in every layer."""


def network(name: str) -> Network:
    """The network called ``name``."""
    return next(n for n in (*NETWORKS, PRUNED) if n.name == name)
