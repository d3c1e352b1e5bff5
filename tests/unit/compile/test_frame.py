"""What stands between a network's layers, at other widths, costs what it does in the program of the pruned network."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from proprune_cli.accel.array import load_array
from proprune_cli.accel.timing import estimate
from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.residual import Residual
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.estimate import ShapeModel
from proprune_cli.compile.frame import Frame
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.pipeline import lower
from proprune_cli.nets.models import build_model
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network
from tests.unit.compile.test_estimate import BOUND, Passes, layer_of, memory_of, quantised, random_layer, traced

SHAPE = (3, 24, 24)
ARRAY = load_array("z7020-256")


class Dense(nn.Module):
    """Joined features of odd widths behind norms and activations of their own, as in a DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(24 + 12 * i) for i in range(4))
        self.convs = nn.ModuleList(nn.Conv2d(24 + 12 * i, 12, 3, padding=1) for i in range(4))
        self.head = nn.Linear(72, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(torch.relu(norm(x)))], 1)
        return self.head(x.mean((2, 3)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet8": lambda: build_model("resnet8", 3, 10, 24),
    "mobilenetv2": lambda: build_model("mobilenetv2?width=0.5", 3, 10, 24),
    "shufflenetv2": lambda: build_model("shufflenetv2?width=0.5", 3, 10, 24),
    "dense": Dense,
    "passes 0": lambda: Passes(0),
    "passes 1": lambda: Passes(1),
    "passes 4": lambda: Passes(4),
}


def framed(model: nn.Module) -> Frame:
    table = CostTable(analyse(model, torch.zeros(2, *SHAPE)))
    frame = Frame.of(fuse(cluster(quantised(model, SHAPE))[0]), table.layers(table.full))
    assert frame is not None
    return frame


def compare(frame: Frame, model: nn.Module, bound: float = BOUND) -> None:
    """Cycles, products and bytes of the program, and those that the frame says."""
    table = CostTable(analyse(model, torch.zeros(2, *SHAPE)))
    works = [work for work, _ in frame.attributed(table.surviving(dict(model.named_parameters())))]
    found = ShapeModel(ARRAY, memory_of(ARRAY)).estimate(works)
    program, layers = lower(quantised(model, SHAPE), ARRAY, memory_of(ARRAY))
    timing = estimate(program, ARRAY, memory_of(ARRAY))
    issued = sum(array_macs(layer, ARRAY).issued for layer in layers)
    assert int(found.cycles.sum()) == pytest.approx(timing.cycles, rel=BOUND)
    assert found.issued == pytest.approx(issued, rel=bound)
    assert found.ddr_bytes == pytest.approx(timing.ddr_bytes, rel=bound)


@pytest.mark.parametrize("residual", ["coupled", "free"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pruned_network_costs_what_its_program_does(name: str, residual: Residual) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    frame = framed(model)
    compare(frame, model)
    options = PruneOptions(model=name, data="-", budget=Budget("ratio", 0.4), residual=residual)
    pruned = prune_network(model, SHAPE[0], SHAPE[1:], options).model.eval()
    # A free branch's filters stand somewhere among the channels of its stream; the frame takes the first of them.
    compare(frame, pruned, BOUND if residual == "coupled" else 2 * BOUND)


@pytest.mark.parametrize("name", ["resnet8", "shufflenetv2", "dense"])
def test_zeros_count_where_lanes_find_them(name: str) -> None:
    """Filters and kernels of zeros, in channels that stand in another order or with gaps between them."""
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    frame = framed(model)
    pruned, rng = copy.deepcopy(model), random.Random(1)
    for layer in pruned.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == 1 and rng.random() < 0.7:
            blocks = torch.rand(-(-len(layer.weight) // 8), layer.in_channels) < 0.4
            mask = blocks.repeat_interleave(8, 0)[: len(layer.weight)]
            layer.weight.data *= mask[:, :, None, None]
    compare(frame, pruned)


def test_without_the_frame_what_stands_between_layers_is_missing() -> None:
    model = Dense().eval()
    table = CostTable(analyse(model, torch.zeros(2, *SHAPE)))
    layers, shapes = table.layers(table.full), ShapeModel(ARRAY, memory_of(ARRAY))
    around = [work for work, _ in framed(model).attributed(layers)]
    alone, whole = (int(shapes.cycles(works).sum()) for works in (layers, around))
    assert alone < 0.9 * whole


def test_a_network_of_other_layers_has_no_frame() -> None:
    graph = fuse(cluster(quantised(Dense().eval(), SHAPE))[0])
    assert Frame.of(graph, [layer_of(macs=7)]) is None
    layers = [layer_of(name=str(n)) for n in range(3)]
    assert framed(Dense().eval()).attributed(layers) == [(layer, place) for place, layer in enumerate(layers)]


@pytest.mark.parametrize("seed", range(8))
def test_products_of_a_random_layer_are_those_that_its_program_issues(seed: int) -> None:
    model, shape = random_layer(random.Random(seed))
    _, layers = lower(quantised(model, shape), ARRAY, memory_of(ARRAY))
    issued = sum(array_macs(layer, ARRAY).issued for layer in layers)
    found = ShapeModel(ARRAY, memory_of(ARRAY)).estimate(traced(model, shape))
    assert found.issued == pytest.approx(issued, rel=BOUND), model
    assert np.all(found.cycles > 0)
