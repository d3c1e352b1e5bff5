"""Dense, non-zero, issued and useful multiply-accumulates: their order, and that pruning and compiler count alike."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from benchmarks.networks import network
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.timing import estimate
from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.lower.dense import network_products
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.plan import make_plan
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.quantized import QGraph
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.work.plan import Plan
from tests.executors import MEMORY
from tests.qnetworks import quantised_networks
from tests.strategies import random_network


def check(graph: QGraph, array: Array, batch: int) -> Plan:
    """Compile and hold every count against the others, layer by layer."""
    program, layers = lower(graph, array, MEMORY, batch)
    timing = estimate(program, array, MEMORY)
    asked = network_products(graph).times(batch)
    plan = make_plan(layers, program, timing, array, asked)
    for layer, tiled in zip(plan.layers, layers, strict=True):
        done = array_macs(tiled, array)
        assert 0 <= done.useful <= done.issued <= layer.iterations * array.macs_per_cycle, layer.work.name
        assert layer.mac_utilisation is not None and 0 <= layer.mac_utilisation <= 1
        best = layer.cycles_of_next_best_tiling
        assert best is None or best >= layer.cycles
    totals = plan.totals
    assert totals.useful_macs is not None and totals.issued_macs is not None and totals.nonzero_macs is not None
    assert totals.mac_utilisation is not None
    assert totals.useful_macs <= totals.issued_macs <= timing.cycles * array.macs_per_cycle
    assert totals.useful_macs <= totals.nonzero_macs <= totals.macs
    assert 0 <= totals.mac_utilisation <= 1
    return plan


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(quantised_networks(), st.sampled_from(array_names()), st.integers(1, 3))
def test_no_count_passes_its_limit(case: tuple[QGraph, np.ndarray], array: str, batch: int) -> None:
    try:
        check(case[0], load_array(array), batch)
    except DoesNotFitError:
        return


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(random_network(grouped=True), st.sampled_from(array_names()), st.floats(0, 1))
def test_weights_of_zero_are_counted_apart(
    case: tuple[onnx.ModelProto, NDArray[np.float32]], array: str, share: float
) -> None:
    model, images = case
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.ndim == 4:
            value = np.where(rng.random(value.shape) < share, np.float32(0), value)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    check(quantise(canonicalise(import_onnx(model)), images)[0], load_array(array), 1)


class Mixed(nn.Module):
    """Every kind of layer that multiplies: grouped, depthwise, dilated, transposed, one-dimensional in effect, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.grouped = nn.Conv2d(16, 24, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(24, 24, 5, padding=2, groups=24)
        self.dilated = nn.Conv2d(24, 8, 3, padding=2, dilation=2)
        self.row = nn.Conv2d(8, 8, (1, 5))
        self.up = nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(6 * 8 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 [N, 3, 16, 16] → [N, 10]."""
        y = self.dilated(self.depthwise(self.grouped(self.stem(x).relu())).relu())
        return self.head(self.pool(self.up(self.row(y))).flatten(1))


def counted(model: nn.Module, size: int) -> tuple[int, int]:
    """Dense multiply-accumulates of one image by pruning, and by the compiler."""
    example = example_input(3, (size, size))
    table = CostTable(analyse(model.eval(), example))
    graph = import_onnx(onnx.load_from_string(to_onnx(model, example)))
    quantised, _ = quantise(canonicalise(graph), np.random.default_rng(0).standard_normal((2, 3, size, size)))
    return table.macs(table.full), network_products(quantised).dense


@pytest.mark.parametrize("name", ["mobilenetv2-32", "unet-32"])
def test_pruning_and_compiler_count_the_zoo_alike(name: str) -> None:
    chosen = network(name)
    mine, theirs = counted(chosen.model(), 32)
    assert mine == theirs > 0


def test_pruning_and_compiler_count_every_kind_of_layer_alike() -> None:
    assert len(set(counted(Mixed(), 16))) == 1
