"""Residual networks whose branches dropped channels of their own, as the pruner exports them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch
from torch import nn

Survivors = Callable[[int, int], Sequence[int]]
"""Channels that a writer of a stream keeps, given the stream's channels and the writer's number."""


def nested(channels: int, writer: int) -> Sequence[int]:
    """Each writer keeps some of what the one before kept, scattered over the stream."""
    order = np.random.default_rng(3).permutation(channels)
    return sorted(order[: channels * 2 // (3 + writer)].tolist())


def clustered(channels: int, writer: int) -> Sequence[int]:
    """Clusters of 8 channels, each scattered over the stream, of which every writer keeps some."""
    order = np.random.default_rng(4).permutation(channels)
    clusters = channels // 8
    kept = np.random.default_rng(10 + writer).permutation(clusters)[: max(clusters // 2, 1)]
    return sorted(order[: clusters * 8].reshape(clusters, 8)[kept].reshape(-1).tolist())


def arbitrary(channels: int, writer: int) -> Sequence[int]:
    return sorted(np.random.default_rng(20 + writer).permutation(channels)[: channels // 3].tolist())


class SpreadNorm(nn.Module):
    """Batch normalisation of survivors, and constants in the channels that were dropped."""

    def __init__(self, stream: int, survivors: Sequence[int], fill: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(len(survivors))
        index = torch.full((stream,), len(survivors))
        index[list(survivors)] = torch.arange(len(survivors))
        self.register_buffer("index", index)
        self.register_buffer("fill", torch.tensor([fill]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        fill = self.fill.view(1, -1, 1, 1).expand(y.shape[0], -1, *y.shape[2:])
        return torch.cat([y, fill], 1).index_select(1, self.index)


class Block(nn.Module):
    """Two convolutions; the second one, and the shortcut's where the stream changes, dropped channels."""

    def __init__(
        self, given: int, width: int, stride: int, survivors: Survivors, at: int, relu: bool, fill: float
    ) -> None:
        super().__init__()
        kept = survivors(width, at)
        inside = max(width // 2, 3)
        self.conv1 = nn.Conv2d(given, inside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inside)
        self.conv2 = nn.Conv2d(inside, len(kept), 3, padding=1, bias=False)
        self.norm2 = SpreadNorm(width, kept, fill)
        self.shortcut = nn.Sequential()
        if given != width or stride > 1:
            own = survivors(width, at + 1)
            self.shortcut = nn.Sequential(
                nn.Conv2d(given, len(own), 1, stride, bias=False), SpreadNorm(width, own, fill)
            )
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y)) + self.shortcut(x)
        return torch.relu(y) if self.relu else y


class FreeResNet(nn.Module):
    """Stem, two blocks, a change of width and size, another block, and a linear layer."""

    def __init__(self, survivors: Survivors, widths: tuple[int, int], relu: bool = True, fill: float = 0.0) -> None:
        super().__init__()
        first, second = widths
        self.stem = nn.Sequential(nn.Conv2d(3, first, 3, padding=1), nn.BatchNorm2d(first), nn.ReLU())
        self.blocks = nn.Sequential(
            Block(first, first, 1, survivors, 0, relu, fill),
            Block(first, first, 1, survivors, 1, relu, fill),
            Block(first, second, 2, survivors, 0, relu, fill),
            Block(second, second, 1, survivors, 2, relu, fill),
        )
        self.head = nn.Linear(second, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def settled(model: nn.Module, size: int) -> nn.Module:
    """``model`` in eval mode, with batch-norm statistics of noise."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, size, size))
    return model.eval()


def exported(model: nn.Module, size: int, *, dynamo: bool) -> onnx.ModelProto:
    example = torch.zeros(2, 3, size, size)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                model, (example,), dynamo=True, dynamic_shapes=batch, external_data=False, verbose=False
            )
            assert program is not None
            return program.model_proto
        names = {"input_names": ["input"], "output_names": ["output"]}
        axes = {name: {0: "batch"} for name in ("input", "output")}
        torch.onnx.export(model, (example,), file, dynamo=False, opset_version=17, dynamic_axes=axes, **names)
    return onnx.load_from_string(file.getvalue())
