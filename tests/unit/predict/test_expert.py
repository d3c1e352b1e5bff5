"""The expert model against the loop model of compiled programs, and its gradients against differences."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.surgery import all_tensors, cuts_for, shrink
from proprune_cli.flow.cost_models import cost_model
from proprune_cli.modules.copying import without_zeros
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model
from proprune_cli.predict.expert import soft_ceiling
from proprune_cli.prune.objective import DifferentiableCost, SoftLayer

PLACES = [("pynq-z2", "z7020-256"), ("pynq-z2", "z7020-384"), ("zcu104", "zu-1024")]
SEEDS = [seed if seed < 2 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(9)]


class Net(nn.Module):
    """A random network: plain, depthwise and grouped convolutions of several kernels, residual blocks, pooling."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = random.Random(seed)
        torch.manual_seed(seed)
        width = rng.choice([8, 16, 24, 40])
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.blocks = nn.ModuleList()
        self.adds: list[bool] = []
        for _ in range(rng.randrange(2, 5)):
            kind = rng.choice(["plain", "residual", "depthwise", "pool"])
            outs = width if kind in ("residual", "pool") else rng.choice([16, 32, 48, 64])
            kernel, stride = rng.choice([1, 3, 5]), rng.choice([1, 1, 2])
            if kind == "plain":
                block = [nn.Conv2d(width, outs, kernel, stride, kernel // 2), nn.ReLU()]
            elif kind == "depthwise":
                block = [nn.Conv2d(width, width, 3, stride, 1, groups=width), nn.ReLU(), nn.Conv2d(width, outs, 1)]
            elif kind == "pool":
                block = [nn.MaxPool2d(2)]
            else:
                inner = rng.choice([8, 24, 32])
                block = [nn.Conv2d(width, inner, kernel, 1, kernel // 2), nn.ReLU(), nn.Conv2d(inner, width, 3, 1, 1)]
            self.blocks.append(nn.Sequential(*block))
            self.adds.append(kind == "residual")
            width = outs
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block, adds in zip(self.blocks, self.adds, strict=True):
            x = torch.relu(block(x) + x) if adds else block(x)
        return self.head(x.mean((2, 3)))


@dataclass
class Case:
    """A network, what is told about it, and ways to ask."""

    model: nn.Module
    kind: str
    board: str
    array: str
    shape: tuple[int, int, int] = (3, 32, 32)

    def __post_init__(self) -> None:
        self.model = without_zeros(self.model).eval()
        self.example = example_input(self.shape[0], self.shape[1:])
        self.channels = analyse(self.model, self.example)
        self.table = CostTable(self.channels)
        self.works = self.table.layers(self.table.full)
        self.images = np.random.default_rng(0).normal(size=(2, *self.shape)).astype(np.float32)
        plain = cost_model(self.kind, self.board, self.array)
        self.model_of_costs = plain.around(to_onnx(self.model, self.example, "n"), self.images, self.works)
        self.soft = self.model_of_costs.softened(self.works)
        self.ones = torch.ones(len(self.works), dtype=torch.float64)

    def sizes(self, rng: random.Random) -> Any:
        """Whole groups of every group of channels, or all of them."""
        sizes = self.table.full.copy()
        for place, group in enumerate(self.channels.groups):
            if group.prunable and group.channels >= 8:
                sizes[place] = min(group.channels, 8 * rng.randrange(1, group.channels // 8 + 1))
        return sizes

    def compiled(self, sizes: Any) -> float:
        """Of the network cut to these sizes: its program, walked by the loop model."""
        kept = {p: np.arange(s) for p, s in enumerate(sizes.tolist()) if self.channels.groups[p].prunable}
        smaller = shrink(self.model, cuts_for(self.channels, kept, dict(all_tensors(self.model))))
        return self.model_of_costs.compiled(to_onnx(smaller, self.example, "n"), self.images)

    def at(self, point: list[torch.Tensor], temperature: float) -> torch.Tensor:
        """The smoothed cost at shares of inputs, outputs and taps."""
        inputs, outputs, taps = point
        return self.soft(inputs, outputs, taps, temperature)

    def shares(self, sizes: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Counted from the layers themselves."""
        now = self.table.layers(sizes)
        pairs = [(n.in_channels / f.in_channels, n.out_channels / f.out_channels) for n, f in
                 zip(now, self.works, strict=True)]  # fmt: skip
        inside, out = zip(*pairs, strict=True)
        return torch.tensor(inside, dtype=torch.float64), torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("seed", SEEDS)
def test_at_whole_groups_it_is_the_loop_model_of_the_compiled_network(seed: int) -> None:
    rng = random.Random(seed)
    case = Case(Net(seed), rng.choice(["ms", "mj"]), *PLACES[seed % 3])
    sizes = case.sizes(rng)
    case.soft.anchor(case.table.layers(sizes))
    shares = case.shares(sizes)
    matrices = [torch.from_numpy(m) for m in case.table.shares()]
    counts = torch.tensor([*sizes.tolist(), 1], dtype=torch.float64)
    for share, matrix in zip(shares, matrices, strict=True):
        torch.testing.assert_close(matrix @ counts, share)
    hard = case.soft(*shares, case.ones, 0.0)
    assert float(hard) == pytest.approx(case.compiled(sizes), rel=2e-3)
    full = case.model_of_costs
    assert isinstance(full, DifferentiableCost)
    one = torch.ones((), dtype=torch.float64)
    whole = full.soft_cost([SoftLayer(work, one, one, one) for work in case.works])
    assert float(whole) == pytest.approx(full.cost(case.works), rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_its_gradients_are_the_differences_of_the_smoothed_cost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = Case(Net(100 + seed), "mj" if seed % 2 else "ms", *PLACES[seed % 3])
    temperature = float(rng.uniform(0.2, 1.0))
    point = [torch.from_numpy(rng.uniform(0.3, 0.97, len(case.works))).requires_grad_(True) for _ in range(3)]
    gradients = torch.autograd.grad(case.at(point, temperature), point)
    step = 1e-6
    for axis, gradient in enumerate(gradients):
        assert bool((gradient >= 0).all())  # nothing costs less by being larger
        for layer in range(len(case.works)):
            moved = [[p.detach().clone() for p in point] for _ in range(2)]
            moved[0][axis][layer] += step
            moved[1][axis][layer] -= step
            up, down = (float(case.at(m, temperature)) for m in moved)
            difference = (up - down) / (2 * step)
            # On a ramp's edge the two sides differ: one of them is the gradient's.
            middle = float(case.at([p.detach() for p in point], temperature))
            sides = ((up - middle) / step, (middle - down) / step, difference)
            assert min(abs(float(gradient[layer]) - s) for s in sides) <= 1e-4 * (abs(difference) + 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "board", "array"), [("resnet8", *PLACES[0]), ("resnet20", *PLACES[1]),
                                                      ("resnet8", *PLACES[2])])  # fmt: skip
def test_a_group_of_channels_fewer_is_worth_what_the_loop_model_says(name: str, board: str, array: str) -> None:
    case = Case(build_model(name, 3, 10, 32), "ms", board, array)
    rng = random.Random(3)
    told: list[float] = []
    true: list[float] = []
    for _ in range(3):
        sizes = case.sizes(rng)
        case.soft.anchor(case.table.layers(sizes))
        before = case.model_of_costs.cost(case.table.layers(sizes))
        groups = case.channels.groups
        for place in rng.sample([p for p, g in enumerate(groups) if g.prunable and sizes[p] > 8], 2):
            fewer = sizes.copy()
            fewer[place] -= 8
            told.append(float(case.soft(*case.shares(fewer), case.ones, 0.0)) / before - 1)
            true.append(case.model_of_costs.cost(case.table.layers(fewer)) / before - 1)
    assert float(np.corrcoef(told, true)[0, 1]) > 0.8
    assert float(np.abs(np.subtract(told, true)).max()) < 0.12


@pytest.mark.slow
def test_the_closed_form_alone_is_near_the_loop_model_where_layers_are_large() -> None:
    case = Case(build_model("resnet20", 3, 10, 32), "ms", *PLACES[0])
    cycles = float(case.soft.parts(case.ones, case.ones, case.ones, 0.0)[0].sum())
    milliseconds = cycles / (cost_model("ms", "pynq-z2", None).array.clock_mhz * 1e3)
    assert milliseconds == pytest.approx(case.model_of_costs.cost(case.works), rel=0.15)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.1, 0.0])
def test_a_soft_ceiling_is_exact_at_whole_numbers_and_between_the_number_and_its_ceiling(temperature: float) -> None:
    x = torch.linspace(0.01, 6, 600, dtype=torch.float64)
    found = soft_ceiling(x, temperature)
    assert bool((found >= x - 1e-9).all()) and bool((found <= torch.ceil(x) + 1e-9).all())
    assert bool((found[1:] >= found[:-1] - 1e-9).all())
    whole = torch.arange(1, 7, dtype=torch.float64)
    assert soft_ceiling(whole, temperature).tolist() == whole.tolist()
    if temperature == 0:
        assert found[:-1].tolist() == [math.ceil(v) for v in x[:-1].tolist()]
