"""PyTorch models through both of its ONNX exporters: same float function, same bytes in ONNX Runtime."""

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
from proprune_cli.ir.graph import Conv
from proprune_cli.ir.nodes import Add, MaxPool, Relu
from tests.differential.test_qdq import differing_bytes, stress


class Plain(nn.Module):
    """Pooling of both kinds, dropout, a flatten by ``view``, batch normalisation of features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3, padding=(0, 1), dilation=2)
        self.pool = nn.AvgPool2d(3, 2, padding=1)
        self.fc1, self.norm2, self.fc2 = nn.Linear(12 * 2 * 3, 16), nn.BatchNorm1d(16), nn.Linear(16, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.norm1(self.conv1(x))), 2, ceil_mode=True)
        x = self.pool(functional.relu(self.conv2(x)))
        x = functional.dropout(x.view(x.size(0), -1), training=self.training)
        return self.fc2(functional.relu(self.norm2(self.fc1(x))))


class Residual(nn.Module):
    """Pre-activation and post-activation blocks, a strided shortcut, the mean as a reduction."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.short = nn.Conv2d(8, 16, 1, stride=2)
        self.drop, self.fc = nn.Dropout2d(), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.conv1(functional.relu(self.norm0(x)))
        x = functional.relu(self.norm1(x))
        x = functional.relu(self.norm2(self.conv2(x)) + self.short(x))
        return self.fc(self.drop(x).mean(dim=(2, 3)))


class Adaptive(nn.Module):
    """Adaptive pooling, ``flatten`` and a fully connected head in a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 7), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


NETWORKS = (Plain, Residual, Adaptive)
EXPORTS = [
    ("legacy", 9, "fixed"),
    ("legacy", 13, "symbolic"),
    ("legacy", 17, "fixed"),
    ("dynamo", 18, "symbolic"),
    ("dynamo", 20, "fixed"),
]
CANONICAL = {"Plain": 6, "Residual": 10, "Adaptive": 4}


def ready(kind: type[nn.Module]) -> nn.Module:
    """A network in eval mode whose batch-norm statistics are not the trivial ones."""
    torch.manual_seed(0)
    network = kind()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
    return network.eval()


def export(network: nn.Module, path: Path, exporter: str, opset: int, symbolic: bool) -> None:
    example = (torch.zeros(2, 1, 15, 16),)
    options: dict[str, Any] = {"opset_version": opset, "verbose": False}
    if exporter == "dynamo":
        dynamic = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if symbolic else {}
        torch.onnx.export(network, example, str(path), dynamo=True, external_data=False, **options, **dynamic)
    else:
        dynamic = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}} if symbolic else {}
        torch.onnx.export(network, example, str(path), dynamo=False, **options, **dynamic)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("exporter", "opset", "batch"), EXPORTS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_both_exporters(kind: type[nn.Module], exporter: str, opset: int, batch: str, tmp_path: Path) -> None:
    network = ready(kind)
    path = tmp_path / "net.onnx"
    export(network, path, exporter, opset, batch == "symbolic")
    graph = canonicalise(import_onnx(path))
    assert {type(node) for node in graph.nodes} <= {Conv, MaxPool, Add, Relu}
    assert len(graph.nodes) == CANONICAL[kind.__name__]
    x: NDArray[np.float32] = np.random.default_rng(1).standard_normal((3, 1, 15, 16)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x)).numpy()
    got = calibrate(graph, x).outputs[0].reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    q, report = quantise(graph, x)
    assert q.outputs[0].shape == wanted.shape[1:] and report.output_sqnr_db > 15
    assert differing_bytes(q, stress(x)) == {}
