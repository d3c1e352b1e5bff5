"""Cycles from the work of layers agree with the loop model on the program that the compiler makes of them."""

from __future__ import annotations

import io
import random
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import estimate
from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.estimate import ShapeModel
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.compile.shapes import works_of
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.quantized import QGraph
from proprune_cli.work.layer import LayerWork, Survivors

BOUND = 0.03
"""Of a network's cycles."""


def memory_of(array: Array) -> Memory:
    return Memory.of(next(b for b in map(load_board, board_names()) if b.part == array.part), array)


def quantised(model: nn.Module, shape: tuple[int, int, int]) -> QGraph:
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32))
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), (images[:1],), buffer, dynamo=False)
    return quantise(canonicalise(import_onnx(onnx.load_model_from_string(buffer.getvalue()))), images.numpy())[0]


def looped(graph: QGraph, array: Array) -> int:
    program, _ = lower(graph, array, memory_of(array))
    return estimate(program, array, memory_of(array)).cycles


def traced(model: nn.Module, shape: tuple[int, int, int]) -> list[LayerWork]:
    """What pruning says of the network."""
    table = CostTable(analyse(model, torch.zeros(2, *shape)))
    return table.surviving(dict(model.named_parameters()))


def shaped(works: list[LayerWork], array: Array) -> int:
    return int(ShapeModel(array, memory_of(array)).cycles(works).sum())


def zeroed(layer: Any, rng: random.Random) -> Any:
    """The layer with some weights missing: single ones, by channels' own positions, whole filters, or all but signs."""
    weight = layer.weight.data
    torch.manual_seed(rng.randrange(1 << 30))
    how = rng.choice(["none", "scattered", "guided", "filters", "positions", "signs"])
    positions = weight[0, 0].numel()
    if how == "scattered":
        weight *= torch.rand_like(weight) < rng.choice([0.02, 0.3])
    if how in ("guided", "signs") and positions > 1:
        own = torch.arange(weight.shape[1]) % positions
        weight *= torch.nn.functional.one_hot(own, positions).reshape(1, weight.shape[1], *weight.shape[2:])
    if how == "filters":
        weight[torch.rand(len(weight)) < 0.6] = 0
    if how == "positions" and positions > 2:
        weight.flatten(2)[:, :, torch.randperm(positions)[: positions // 2]] = 0
    if how == "signs":
        layer.weight.data = weight.sign() * 0.1
    return layer


def random_layer(rng: random.Random) -> tuple[nn.Module, tuple[int, int, int]]:
    """A layer of a random kind that has weights, and the shape of its images."""
    kind = rng.choice(["conv", "conv", "grouped", "depthwise", "multiplied", "transposed", "transposed", "linear"])
    size, channels = rng.choice([6, 9, 16, 28]), rng.choice([3, 8, 12, 16, 24, 40, 72])
    kernel, stride = rng.choice([1, 2, 3, 4, 5]), rng.choice([1, 1, 2, 3])
    pad, outs = rng.randrange(kernel // 2 + 1), rng.choice([4, 8, 20, 32, 64])
    if kind == "linear":
        edge = rng.choice([1, 3, 5])
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * edge * edge, outs)), (channels, edge, edge)
    if kind == "transposed":
        groups = rng.choice([1, 1, 4]) if channels % 4 == 0 else 1
        layer = nn.ConvTranspose2d(
            channels, outs, kernel, rng.choice([2, 3, 4]), pad, groups=groups, output_padding=rng.randrange(2)
        )
        return zeroed(layer, rng), (channels, size, size)
    if kind in ("depthwise", "multiplied"):
        outs = channels * (2 if kind == "multiplied" else 1)
    groups = {"depthwise": channels, "multiplied": channels, "grouped": 4 if channels % 4 == 0 else 3}.get(kind, 1)
    if outs % groups or channels % groups:
        groups = 1
    dilation = rng.choice([1, 1, 2]) if kernel > 1 else 1
    layer = nn.Conv2d(channels, outs, (kernel, rng.choice([1, kernel])), stride, pad, dilation, groups)
    if layer.kernel_size[1] <= 2 * pad - 1:
        layer = nn.Conv2d(channels, outs, kernel, stride, pad, dilation, groups)
    return zeroed(layer, rng), (channels, size + 8, size + 8)


@pytest.mark.parametrize("seed", [*range(24), *(pytest.param(seed, marks=pytest.mark.large) for seed in range(24, 60))])
def test_a_random_layer_as_pruning_states_it_costs_what_it_costs_compiled(seed: int) -> None:
    model, shape = random_layer(random.Random(seed))
    works, graph = traced(model, shape), quantised(model, shape)
    for name in array_names(own=False):
        array = load_array(name)
        assert shaped(works, array) == pytest.approx(looped(graph, array), rel=BOUND), (model, shape, name)


class Passes(nn.Module):
    """Every kind of pass: joined branches, both poolings, both ways to upsample, a table, an addition, a gate."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng, width = random.Random(seed), random.Random(seed).choice([12, 16, 40])
        torch.manual_seed(seed)
        self.first = nn.Conv2d(3, width, 3, rng.choice([1, 2]), 1)
        self.pool = rng.choice([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1), nn.Conv2d(width, width, 2, 2)])
        self.deep = zeroed(nn.Conv2d(width, width, 3, padding=1), rng)
        self.wide = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.up = rng.choice([nn.Upsample(scale_factor=2), zeroed(nn.ConvTranspose2d(width, width, 4, 2, 1), rng)])
        self.join = zeroed(nn.Conv2d(3 * width, 24, rng.choice([1, 3]), padding=1), rng)
        self.last = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = torch.relu(self.first(x))
        small = self.pool(first)
        deep = torch.relu(self.deep(small)) + small
        up = torch.sigmoid(self.up(deep))[:, :, : first.shape[2], : first.shape[3]]
        joined = self.join(torch.cat([up, first, self.wide(first)], 1))
        gate = torch.sigmoid(joined.mean((2, 3), keepdim=True))
        return self.last((joined * gate).mean((2, 3)))


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_s_passes_cost_what_its_program_does(seed: int) -> None:
    graph = quantised(Passes(seed), (3, 24, 24))
    works = works_of(fuse(cluster(graph)[0]))
    for name in array_names(own=False):
        array = load_array(name)
        cycles = ShapeModel(array, memory_of(array)).cycles(works)
        program, _ = lower(graph, array, memory_of(array))
        timing = estimate(program, array, memory_of(array))
        assert int(cycles.sum()) == pytest.approx(timing.cycles, rel=BOUND)
        assert cycles.tolist() == pytest.approx([layer.cycles for layer in timing.layers], abs=2), name


def layer_of(**changes: Any) -> LayerWork:
    fields: dict[str, Any] = {
        "name": "layer", "kind": "conv", "in_channels": 64, "out_channels": 64, "groups": 1, "kernel": (3, 3),
        "stride": (1, 1), "in_size": (16, 16), "out_size": (16, 16), "macs": 0,
    }  # fmt: skip
    return LayerWork(**fields | changes)


def cycles_of(**changes: Any) -> int:
    return shaped([layer_of(**changes)], load_array("z7020-256"))


def test_a_transposed_convolution_costs_its_phases() -> None:
    """By hand: 256 input pixels make 128 beats; the k·k taps of 4 chunks × 8 blocks are dealt to the phases."""
    for kernel in (2, 4):
        found = cycles_of(kind="conv_transpose", kernel=(kernel, kernel), stride=(2, 2), out_size=(32, 32))
        taps = kernel * kernel * 4 * 8
        assert taps * 128 < found < 1.2 * taps * 128 + 4 * 2000 + 4 * 32 * 32 * 8


def test_zeros_count_by_the_taps_that_they_spare() -> None:
    dense = cycles_of()
    nonzero = np.zeros((64, 64, 9), dtype=np.bool_)
    nonzero[:, np.arange(64), np.arange(64) % 9] = True
    guided = cycles_of(survivors=Survivors(nonzero))
    assert dense / 9 < guided < dense / 4
    assert cycles_of(taps=288 // 2) == pytest.approx(dense / 2, rel=0.1)
    full = Survivors(np.ones((512, 512, 1), dtype=np.bool_))
    signs = Survivors(full.nonzero, one_bit=True)
    small = {"in_channels": 512, "out_channels": 512, "kernel": (1, 1), "in_size": (2, 2), "out_size": (2, 2)}
    assert cycles_of(**small, survivors=signs) < 0.8 * cycles_of(**small, survivors=full)
    assert cycles_of(**small, survivors=full) == cycles_of(**small)


def test_groups_read_their_own_channels_alone() -> None:
    assert cycles_of(groups=4) < cycles_of() / 3


def test_a_layer_that_fits_no_tile_is_refused_as_the_compiler_does() -> None:
    with pytest.raises(DoesNotFitError, match="'layer'"):
        cycles_of(kernel=(1, 9000), in_size=(1, 18000), out_size=(1, 9001))


def test_equal_survivors_are_one_pass() -> None:
    one, other = (Survivors(np.eye(64, dtype=np.bool_)[:, :, None]) for _ in range(2))
    assert one == other and hash(one) == hash(other) and one != Survivors(one.nonzero, one_bit=True)
    assert one != Survivors(~one.nonzero) and layer_of(survivors=one) == layer_of(survivors=other)
