"""Prune efficiency: speed-up ÷ operation reduction of networks that lost two thirds of their operations, predicted.

Random weights and random survivors: what counts here is which channels are left, not what the network says.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.networks import network
from benchmarks.predicted import predict
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.quantized import QGraph
from proprune_cli.nets.models import build_model
from proprune_cli.nets.zoo.densenet import DenseLayer
from proprune_cli.nets.zoo.layers import BasicBlock
from tests.differential.free_networks import SpreadNorm

ARRAY = "z7020-256"


@dataclass(frozen=True)
class Case:
    """A network as it was and as it is, for images of one size."""

    name: str
    dense: str
    pruned: nn.Module
    size: int


def resnet18_coupled(share: float, multiple: int) -> nn.Module:
    """All streams and branches with about ``share`` of their channels, a multiple of ``multiple``."""
    widths = ",".join(str(max(round(w * share / multiple), 1) * multiple) for w in (64, 128, 256, 512))
    return build_model(f"resnet18?widths={widths}", 3, 1000, 224)


def resnet18_free(share: float, multiple: int, seed: int = 0) -> nn.Module:
    """Streams stay; each convolution of a branch keeps about ``share`` of its filters, its own ones.

    They are clusters of ``multiple`` channels that lie anywhere in the stream.
    """
    rng = np.random.default_rng(seed)
    model = build_model("resnet18", 3, 1000, 224)
    clusters: dict[int, NDArray[np.int64]] = {}
    for block in (m for m in model.modules() if isinstance(m, BasicBlock)):
        stream = block.conv2.out_channels
        of_stream = clusters.setdefault(stream, rng.permutation(stream).reshape(-1, multiple))
        count = max(round(len(of_stream) * share), 1)

        def survivors(of_stream: NDArray[np.int64] = of_stream, count: int = count) -> list[int]:
            return sorted(of_stream[rng.permutation(len(of_stream))[:count]].reshape(-1).tolist())

        inside, kept = count * multiple, survivors()
        block.conv1 = nn.Conv2d(block.conv1.in_channels, inside, 3, block.conv1.stride, 1, bias=False)
        block.bn1 = nn.BatchNorm2d(inside)
        block.conv2 = nn.Conv2d(inside, len(kept), 3, padding=1, bias=False)
        block.bn2 = SpreadNorm(stream, kept, 0.0)
        if isinstance(block.shortcut, nn.Sequential):
            own, old = survivors(), block.shortcut[0]
            block.shortcut = nn.Sequential(
                nn.Conv2d(old.in_channels, len(own), 1, old.stride, bias=False), SpreadNorm(stream, own, 0.0)
            )
    return model


def densenet40(growths: Iterator[int]) -> nn.Module:
    """densenet40 whose convolutions add as many channels as ``growths`` says, one after the other."""
    model = build_model("densenet40", 3, 10, 32)
    body = model.features
    channels = body[0].out_channels
    for index, layer in enumerate(body):
        if isinstance(layer, DenseLayer):
            grown = next(growths)
            layer.norm = nn.BatchNorm2d(channels)
            layer.conv = nn.Conv2d(channels, grown, 3, padding=1, bias=False)
            channels += grown
        elif isinstance(layer, nn.BatchNorm2d):
            body[index] = nn.BatchNorm2d(channels)
        elif isinstance(layer, nn.Conv2d) and index:
            kept = round(channels * 0.6)
            body[index] = nn.Conv2d(channels, kept, 1, bias=False)
            channels = kept
    model.classifier = nn.Linear(channels, 10)
    return model


def cases() -> Iterator[Case]:
    yield Case("resnet18, coupled, by 8", "resnet18-224", resnet18_coupled(0.53, 8), 224)
    yield Case("resnet18, coupled, by 1", "resnet18-224", resnet18_coupled(0.53, 1), 224)
    yield Case("resnet18, free, clusters of 8", "resnet18-224", resnet18_free(0.41, 8), 224)
    yield Case("resnet18, free, arbitrary", "resnet18-224", resnet18_free(0.41, 1), 224)
    rng = np.random.default_rng(0)
    ways = {"by 8": [8] * 36, "by 4": rng.choice([4, 8], 36, p=[0.3, 0.7]), "by 1": rng.integers(4, 11, 36)}
    for name, growths in ways.items():
        yield Case(f"densenet40, {name}", "densenet40-32", densenet40(iter(map(int, growths))), 32)


def quantised(model: nn.Module, size: int) -> QGraph:
    """With batch-norm statistics of noise, calibrated on two images of it."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.weight.data.uniform_(0.5, 1.5)
    example = torch.randn(2, 3, size, size)
    with torch.no_grad():
        model.train()(example)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), (example,), file, dynamo=False, opset_version=17)
    graph = canonicalise(import_onnx(onnx.load_from_string(file.getvalue())))
    return quantise(graph, example.numpy())[0]


def main() -> None:
    dense: dict[str, tuple[int, int]] = {}
    print(f"{'network':32}{'operations':>12}{'cycles':>10}{'fewer':>8}{'faster':>8}{'efficiency':>12}")
    for case in cases():
        if case.dense not in dense:
            whole = network(case.dense)
            before = predict(quantised(whole.model(), case.size), ARRAY)
            dense[case.dense] = before.macs, before.cycles
            print(f"{case.dense:32}{before.macs:12}{before.cycles:10}")
        macs, cycles = dense[case.dense]
        after = predict(quantised(case.pruned, case.size), ARRAY)
        fewer, faster = macs / after.macs, cycles / after.cycles
        print(f"{case.name:32}{after.macs:12}{after.cycles:10}{fewer:8.2f}{faster:8.2f}{faster / fewer:12.3f}")


if __name__ == "__main__":
    main()
