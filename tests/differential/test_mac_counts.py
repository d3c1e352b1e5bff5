"""Pruning counts the multiply-accumulates of PyTorch modules, the compiler those of their ONNX files: they agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from proprune_cli.accel.boards import board_with_array
from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import schedule_model
from proprune_cli.errors import UnsupportedError
from proprune_cli.flow.build import check_network
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model
from proprune_cli.prune.sparsity import idle_macs


class OneDimensional(nn.Module):
    """Conv1d layers over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv1d(3, 8, 3, padding=1), nn.Conv1d(8, 8, 3, groups=8, stride=2)
        self.back, self.last = nn.ConvTranspose1d(8, 6, 4, stride=2, padding=1), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.first(x.flatten(2)))))
        return self.last(self.back(x).mean(2))


class Functional(nn.Module):
    """A weight that no layer owns, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(functional.conv2d(x, self.weight, padding=1).relu(), self.weight, stride=2)


def layers() -> nn.Module:
    """Dense, grouped, depthwise and transposed convolutions, average pooling, a fully connected layer."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, groups=4, padding=1),
        nn.Conv2d(24, 24, 3, groups=24, dilation=2, padding=2),
        nn.AvgPool2d(2),
        nn.ConvTranspose2d(24, 16, 4, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(16, 8, 3, stride=2, output_padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )


def thinned(model: nn.Module, share: float) -> nn.Module:
    """``model`` with this share of the weights of its layers set to 0."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.masked_fill_(torch.rand(parameter.shape, generator=generator) < share, 0.0)
    return model.eval()


def counted(model: nn.Module, example: torch.Tensor) -> tuple[int, int]:
    """Dense and non-zero multiply-accumulates, as pruning counts them."""
    table = CostTable(analyse(model, example))
    dense = table.macs(table.full)
    return dense, dense - idle_macs(model, example)


def imported(model: nn.Module, example: torch.Tensor) -> tuple[int, int]:
    """The same of its ONNX file, as the compiler counts them."""
    graph = canonicalise(import_onnx(onnx.load_model_from_string(to_onnx(model, example))))
    sources = {source for found in graph.sources.values() for source in found}
    return sum(s.macs for s in sources), sum(s.nonzero_macs for s in sources)


@pytest.mark.parametrize(
    "name",
    [
        "lenet5",
        "resnet8",
        "unet?width=0.25",
        pytest.param("mobilenetv2", marks=pytest.mark.slow),
        *(pytest.param(n, marks=pytest.mark.large) for n in ("shufflenetv2?width=0.5", "densenet40")),
    ],
)
def test_networks_of_the_zoo(name: str) -> None:
    size = (1, 28, 28) if name == "lenet5" else (3, 32, 32)
    model = thinned(build_model(name, size[0], 10, size[1:], gives="anything"), 0.6)
    example = torch.zeros(1, *size)
    dense, nonzero = counted(model, example)
    assert imported(model, example) == (dense, nonzero)
    assert 0 < nonzero < dense


@pytest.mark.parametrize("make", [layers, Functional])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_every_kind_of_layer(make: Callable[[], nn.Module], share: float) -> None:
    model, example = thinned(make(), share), torch.zeros(1, 3, 16, 16)
    dense, nonzero = counted(model, example)
    board, array = board_with_array("pynq-z2")
    images = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    scheduled = schedule_model(onnx.load_model_from_string(to_onnx(model, example)), images, array, board, batch=2)
    assert (scheduled.asked.dense, scheduled.asked.nonzero) == (2 * dense, 2 * nonzero)
    done = scheduled.array_macs(array)
    assert 0 < done.useful <= done.issued and done.useful <= 2 * nonzero


def test_what_the_layers_have_by_hand() -> None:
    dense, nonzero = counted(thinned(layers(), 0.0), torch.zeros(1, 3, 16, 16))
    by_hand = 3 * 12 * 9 * 256 + 12 * 24 * 9 // 4 * 64 + 24 * 9 * 64 + 24 * 16 * 16 // 2 * 16 + 16 * 8 * 9 * 64 + 80
    assert dense == nonzero == by_hand


def test_one_dimensional_layers_are_counted_and_refused_by_name() -> None:
    model, example = thinned(OneDimensional(), 0.0), torch.zeros(1, 3, 8, 8)
    by_hand = 3 * 8 * 3 * 64 + 8 * 3 * 31 + 8 * 6 * 4 * 31 + 6 * 4
    assert counted(model, example) == (by_hand, by_hand)
    assert counted(model, example.repeat(1, 1, 1, 1)) == (by_hand, by_hand)
    zeroed = thinned(OneDimensional(), 1.1)
    assert counted(zeroed, example) == (by_hand, 0)
    with pytest.raises(UnsupportedError, match=r"nothing is trained.*batch x 3x64") as caught:
        check_network(to_onnx(model, example))
    assert "--no-engine" in caught.value.remedy
