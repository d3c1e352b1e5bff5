"""Blocks of well-known networks through both PyTorch exporters: same float function, same bytes in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.quantise.calibration import calibrate
from proprune_cli.compile.quantise.network import quantise
from tests.differential.test_qdq import differing_bytes, stress
from tests.differential.test_qdq_exporters import export, ready


def conv(
    i: int, o: int, k: int = 3, *, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = None
) -> nn.Module:
    parts = [nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*parts, *([act()] if act else []))


class MobileNetV2(nn.Module):
    """Inverted residuals with ReLU6, as EfficientNet-lite has them too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 8, stride=2, act=nn.ReLU6)
        self.block = nn.Sequential(conv(8, 24, 1, act=nn.ReLU6), conv(24, 24, groups=24, act=nn.ReLU6), conv(24, 8, 1))
        self.head = nn.Sequential(conv(8, 16, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.block(x))


class MobileNetV3(nn.Module):
    """Hard swish, and squeeze-excite with a hard sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 8, stride=2, act=nn.Hardswish)
        self.wide = nn.Sequential(conv(8, 16, 1, act=nn.Hardswish), conv(16, 16, 5, groups=16, act=nn.Hardswish))
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1), nn.Hardsigmoid()
        )
        self.thin = conv(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.wide(x)
        return x + self.thin(y * self.gate(y))


class EfficientNet(nn.Module):
    """SiLU, squeeze-excite through linear layers and a view, a last sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(1, 12, act=nn.SiLU)
        self.down, self.up, self.last = nn.Linear(12, 3), nn.Linear(3, 12), nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = torch.sigmoid(self.up(functional.silu(self.down(x.mean(dim=(2, 3))))))
        return torch.sigmoid(self.last(x * gate.view(gate.size(0), -1, 1, 1)))


class ShuffleNetV2(nn.Module):
    """Both units, with the channel shuffle as the reference implementation writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(conv(4, 4, stride=2, groups=4), conv(4, 8, 1, act=nn.ReLU))
        self.right = nn.Sequential(
            conv(4, 8, 1, act=nn.ReLU), conv(8, 8, stride=2, groups=8), conv(8, 8, 1, act=nn.ReLU)
        )
        self.unit = nn.Sequential(conv(8, 8, 1, act=nn.ReLU), conv(8, 8, groups=8), conv(8, 8, 1, act=nn.ReLU))
        self.stem = conv(1, 4, act=nn.ReLU)

    def shuffle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.shuffle(torch.cat((self.left(x), self.right(x)), dim=1))
        for _ in range(2):
            a, b = x.chunk(2, dim=1)
            x = self.shuffle(torch.cat((a, self.unit(b)), dim=1))
        return x.mean([2, 3])


class DenseNet(nn.Module):
    """Concatenations of everything before, normalisation before convolution, a transition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 + 4 * i) for i in range(4))
        self.convs = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1, bias=False) for i in range(3))
        self.transition = nn.Conv2d(20, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.stem(x)]
        for norm, layer in zip(self.norms, self.convs, strict=False):
            parts.append(layer(functional.relu(norm(torch.cat(parts, 1)))))
        x = self.transition(functional.relu(self.norms[3](torch.cat(parts, 1))))
        return functional.avg_pool2d(x, 2)


class UNet(nn.Module):
    """Down, up by a transposed convolution and by repetition, a skip that is cropped, logits per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = conv(1, 6, act=nn.LeakyReLU), conv(6, 12, act=nn.ELU)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.join, self.last = conv(12, 8, act=nn.PReLU), nn.ConvTranspose2d(8, 2, 3, 2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        up = self.up(self.two(functional.max_pool2d(one, 2)))
        one = one[:, :, : up.shape[2], : up.shape[3]]
        x = self.join(torch.cat((functional.pad(up, (0, 0, 0, 0)), one), 1))
        return self.last(functional.interpolate(x, scale_factor=2, mode="nearest"))


class SegNet(nn.Module):
    """Upsampling modules, a strided slice with padded channels (the parameter-free shortcut), softmax over classes."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = conv(1, 6, act=nn.ReLU), conv(6, 8, stride=2)
        self.up, self.last = nn.Upsample(scale_factor=2, mode="nearest"), conv(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        short = functional.pad(one[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        return self.last(self.up(functional.relu(self.two(one) + short)))


NETWORKS = (MobileNetV2, MobileNetV3, EfficientNet, ShuffleNetV2, DenseNet, UNet, SegNet)
EXPORTS = [("legacy", 11, "fixed"), ("legacy", 17, "symbolic"), ("dynamo", 18, "symbolic"), ("dynamo", 20, "fixed")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("exporter", "opset", "batch"), EXPORTS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_both_exporters(kind: type[nn.Module], exporter: str, opset: int, batch: str, tmp_path: Path) -> None:
    network = ready(kind)
    path = tmp_path / "net.onnx"
    export(network, path, exporter, opset, batch == "symbolic")
    graph = canonicalise(import_onnx(path))
    x: NDArray[np.float32] = np.random.default_rng(1).standard_normal((3, 1, 15, 16)).astype(np.float32)
    with torch.no_grad():
        wanted: Any = network(torch.from_numpy(x)).numpy()
    got = calibrate(graph, x).outputs[0].reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    q, report = quantise(graph, x)
    assert q.outputs[0].shape == wanted.shape[1:] and report.output_sqnr_db > 15
    assert differing_bytes(q, stress(x)) == {}
