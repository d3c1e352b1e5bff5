"""Detectors in the manner of YOLOv8 and YOLOX, small, with their decoding, for tests of the compiler.

Written from what is published of the two designs: C2f blocks, spatial pyramid pooling and the distribution over 16 bins
for each side of a box (Li et al., "Generalized Focal Loss", 2020) of the one; focus slicing, cross-stage blocks and the
decoupled head with a grid (Ge et al., "YOLOX", 2021) of the other.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Images = NDArray[np.float32]

STRIDES = (8, 16)
"""Pixels of the image for each pixel of a head's map."""


class Unit(nn.Module):
    """Convolution, normalisation, SiLU."""

    def __init__(self, channels: int, filters: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
        self.norm, self.act = nn.BatchNorm2d(filters, momentum=None), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, channels: int, *, shortcut: bool = True) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = Unit(channels, channels, 3), Unit(channels, channels, 3), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class C2f(nn.Module):
    """Two halves of the channels; every bottleneck's result joins them."""

    def __init__(self, channels: int, filters: int, count: int = 1, *, shortcut: bool = True) -> None:
        super().__init__()
        self.width = filters // 2
        self.first = Unit(channels, filters)
        self.last = Unit((2 + count) * self.width, filters)
        self.blocks = nn.ModuleList(Bottleneck(self.width, shortcut=shortcut) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).split((self.width, self.width), 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """Maxima of three sizes beside the map (SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = Unit(channels, channels // 2), Unit(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Distances(nn.Module):
    """The mean of a distribution over bins, as a convolution with the weights 0, 1, 2, …"""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.conv = nn.Conv2d(bins, 1, 1, bias=False).requires_grad_(requires_grad=False)
        self.conv.weight.data[:] = torch.arange(bins, dtype=torch.float32).view(1, bins, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, anchors = x.shape
        y = x.view(n, 4, self.bins, anchors).transpose(2, 1).softmax(1)
        return self.conv(y).view(n, 4, anchors)


def grid(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Centres [2, anchors] in pixels of their maps, and strides [1, anchors]."""
    centres: list[Tensor] = []
    strides: list[Tensor] = []
    for stride in STRIDES:
        rows, columns = (torch.arange(n // stride) + 0.5 for n in size)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres.append(torch.stack([x, y]).view(2, -1))
        strides.append(torch.full((1, centres[-1].shape[1]), float(stride)))
    return torch.cat(centres, 1), torch.cat(strides, 1)


class YoloV8Like(nn.Module):
    """Boxes (centre, width, height in pixels) and class scores of every anchor, [N, 4 + classes, anchors]."""

    def __init__(self, classes: int = 5, width: int = 8, size: tuple[int, int] = (64, 64), bins: int = 16) -> None:
        super().__init__()
        self.centres: Tensor
        self.strides: Tensor
        w = width
        self.classes, self.bins = classes, bins
        self.stem = nn.Sequential(Unit(3, w, 3, 2), Unit(w, 2 * w, 3, 2), C2f(2 * w, 2 * w))
        self.small = nn.Sequential(Unit(2 * w, 2 * w, 3, 2), C2f(2 * w, 2 * w))
        self.smaller = nn.Sequential(Unit(2 * w, 4 * w, 3, 2), C2f(4 * w, 4 * w), Pyramid(4 * w))
        self.up = nn.Upsample(scale_factor=2)
        self.down = Unit(2 * w, 2 * w, 3, 2)
        self.top_down = C2f(6 * w, 2 * w, shortcut=False)
        self.bottom_up = C2f(6 * w, 4 * w, shortcut=False)
        widths = (2 * w, 4 * w)
        self.boxes = nn.ModuleList(nn.Sequential(Unit(c, 16, 3), nn.Conv2d(16, 4 * bins, 1)) for c in widths)
        self.scores = nn.ModuleList(nn.Sequential(Unit(c, 16, 3), nn.Conv2d(16, classes, 1)) for c in widths)
        self.distances = Distances(bins)
        centres, strides = grid(size)
        self.register_buffer("centres", centres.unsqueeze(0))
        self.register_buffer("strides", strides)

    def forward(self, x: Tensor) -> Tensor:
        small = self.small(self.stem(x))
        smaller = self.smaller(small)
        joined = self.top_down(torch.cat([self.up(smaller), small], 1))
        maps = (joined, self.bottom_up(torch.cat([self.down(joined), smaller], 1)))
        heads = [torch.cat([box(y), score(y)], 1) for box, score, y in zip(self.boxes, self.scores, maps, strict=True)]
        both = torch.cat([head.view(head.shape[0], 4 * self.bins + self.classes, -1) for head in heads], 2)
        distribution, scores = both.split((4 * self.bins, self.classes), 1)
        before, after = self.distances(distribution).chunk(2, 1)
        first, last = self.centres - before, self.centres + after
        boxes = torch.cat([(first + last) / 2, last - first], 1) * self.strides
        return torch.cat([boxes, scores.sigmoid()], 1)


class CrossStage(nn.Module):
    """One branch with bottlenecks and one without (CSP)."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        half = filters // 2
        self.one, self.two, self.last = Unit(channels, half), Unit(channels, half), Unit(filters, filters)
        self.block = Bottleneck(half)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat([self.block(self.one(x)), self.two(x)], 1))


class Decoupled(nn.Module):
    """Two branches: box and objectness, classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.first = Unit(channels, 16)
        self.of_box, self.of_class = Unit(16, 16, 3), Unit(16, 16, 3)
        self.box, self.object, self.score = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 1, 1), nn.Conv2d(16, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        a, b = self.of_box(y), self.of_class(y)
        return torch.cat([self.box(a), self.object(a).sigmoid(), self.score(b).sigmoid()], 1)


class YoloXLike(nn.Module):
    """Boxes (centre, width, height in pixels), objectness and class scores, [N, anchors, 5 + classes]."""

    def __init__(self, classes: int = 5, width: int = 8, size: tuple[int, int] = (64, 64)) -> None:
        super().__init__()
        self.corners: Tensor
        self.strides: Tensor
        w = width
        self.stem = nn.Sequential(Unit(12, w, 3), Unit(w, 2 * w, 3, 2), CrossStage(2 * w, 2 * w))
        self.small = nn.Sequential(Unit(2 * w, 2 * w, 3, 2), CrossStage(2 * w, 2 * w))
        self.smaller = nn.Sequential(Unit(2 * w, 4 * w, 3, 2), CrossStage(4 * w, 4 * w))
        self.up, self.lateral = nn.Upsample(scale_factor=2), Unit(4 * w, 2 * w)
        self.top_down = CrossStage(4 * w, 2 * w)
        self.heads = nn.ModuleList(Decoupled(c, classes) for c in (2 * w, 4 * w))
        centres, strides = grid(size)
        self.register_buffer("corners", (centres - 0.5).t().unsqueeze(0).contiguous())
        self.register_buffer("strides", strides.t().unsqueeze(0).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
        small = self.small(self.stem(y))
        smaller = self.smaller(small)
        joined = self.top_down(torch.cat([self.up(self.lateral(smaller)), small], 1))
        maps = [head(y) for head, y in zip(self.heads, (joined, smaller), strict=True)]
        y = torch.cat([m.flatten(2) for m in maps], 2).permute(0, 2, 1)
        corners = (y[..., :2] + self.corners) * self.strides
        sizes = torch.exp(y[..., 2:4]) * self.strides
        return torch.cat([corners, sizes, y[..., 4:]], -1)


DETECTORS: dict[str, Callable[..., nn.Module]] = {"yolov8": YoloV8Like, "yolox": YoloXLike}


def pictures(count: int, size: tuple[int, int] = (64, 64), seed: int = 0) -> Images:
    """Smooth random pictures with some noise, float32 [count, 3, *size] with a deviation near 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, size[0] // 8, size[1] // 8, generator=generator)
    smooth = functional.interpolate(coarse, size=size, mode="bicubic")
    return (smooth + 0.2 * torch.randn(count, 3, *size, generator=generator)).numpy()


def made(kind: str, **options: Any) -> nn.Module:
    """A detector with fixed random weights and the statistics of pictures, in evaluation mode.

    The last convolutions, which alone have a bias, get weights with which logits spread as those of a trained one.
    """
    torch.manual_seed(0)
    network = DETECTORS[kind](**options)
    size = options.get("size", (64, 64))
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.weight.data *= 0.5 if module.out_channels == 4 else 2  # a box of YOLOX has exponentials of them
    network.train()
    with torch.no_grad():
        for seed in range(4):
            network(torch.from_numpy(pictures(8, size, seed)))
    return network.eval()


def exported(network: nn.Module, exporter: str, size: tuple[int, int] = (64, 64), opset: int = 0) -> onnx.ModelProto:
    """The network through one of PyTorch's exporters ("legacy" or "dynamo")."""
    example = (torch.randn(1, 3, *size),)
    file: Any = io.BytesIO()
    options: dict[str, Any] = {"opset_version": opset or (18 if exporter == "dynamo" else 17), "verbose": False}
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if exporter == "dynamo":
                program = torch.onnx.export(network, example, dynamo=True, **options)
                assert program is not None
                program.save(file)
            else:
                torch.onnx.export(network, example, file, dynamo=False, **options)
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load_model_from_string(file.getvalue())
