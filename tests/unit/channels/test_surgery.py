"""Pruned networks compute what the masked ones compute, for every coupling the analysis claims to know."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

import proprune_cli
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.channels.surgery import RELATIVE_TOLERANCE, SurgeryError, cuts_for, masked, shrink, verify
from proprune_cli.errors import BudgetError, InputError
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.models import build_model
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.methods import METHODS
from proprune_cli.prune.shrinking import prune_network


def randomise(model: nn.Module) -> nn.Module:
    """Norm statistics as after training; with fresh ones many mistakes would not show."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1, 1)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.normal_(module.bias)
    return model.eval()


def options(budget: str = "ops=0.5", **more: object) -> PruneOptions:
    return PruneOptions(model="test", data="digits", budget=Budget.parse(budget), **more)


def counted(model: nn.Module, example: torch.Tensor) -> int:
    """Multiply-accumulates of one image, seen by hooks while the network runs."""
    total = 0

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        per_output = module.weight[0].numel()
        total += output[0].numel() * per_output

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        model.eval()(example)
    for handle in handles:
        handle.remove()
    return total


ZOO = [("lenet5", 1, 28), ("resnet8", 3, 16), ("resnet20?width=2", 1, 16), ("vgg16?width=0.25", 3, 32)]


@pytest.mark.parametrize(("spec", "channels", "size"), ZOO)
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_zoo_network_meets_an_operation_budget_and_counts_agree(
    spec: str, channels: int, size: int, scope: str
) -> None:
    model = randomise(build_model(spec, channels, 10, size))
    shrunk = prune_network(model, channels, (size, size), options(scope=scope))
    example = example_input(channels, (size, size))
    assert shrunk.error <= 1e-4
    assert shrunk.dense_macs == counted(model, example)
    assert shrunk.macs == counted(shrunk.model, example)
    assert shrunk.achieved <= 0.5
    assert shrunk.achieved >= 0.48 or shrunk.notes
    assert shrunk.dense_params == sum(p.numel() for p in model.parameters())


def test_resnet18_residual_streams_are_one_group_per_stage() -> None:
    channels = analyse(build_model("resnet18?width=0.25", 3, 10, 32), example_input(3, (32, 32)))
    stream = next(g for g in channels.groups if g.name == "conv1")
    assert {"conv1", "bn1", "layer1.0.conv2", "layer1.1.conv2"} <= set(stream.layers)
    assert [g.reasons for g in channels.groups if g.name == "fc"] == [("the network's output",)]


@pytest.mark.parametrize("method", [n for n, m in METHODS.items() if m.importance and not m.saliency])
def test_every_importance_prunes(method: str) -> None:
    model = randomise(build_model("resnet8", 1, 10, 16))
    assert prune_network(model, 1, (16, 16), options("ratio=0.5", method=method)).macs < 0.5 * counted(
        model, example_input(1, (16, 16))
    )


class Coupled(nn.Module):
    """Depthwise convolution, squeeze and excitation, concatenation, sigmoid, and a flatten with pixels left."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.squeeze = nn.Conv2d(16, 8, 1)
        self.excite = nn.Conv2d(8, 16, 1)
        self.left = nn.Conv2d(16, 16, 1)
        self.right = nn.Conv2d(16, 24, 3, padding=1)
        self.slope = nn.PReLU(24)
        self.after = nn.Conv2d(40, 16, 3, stride=2)
        self.fc1 = nn.Linear(16 * 9, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nnf.hardswish(self.bn(self.stem(x)))
        x = self.depthwise(x)
        gate = torch.sigmoid(self.excite(nnf.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = x * gate
        x = torch.cat([torch.sigmoid(self.left(x)), self.slope(self.right(x))], 1)
        x = torch.flatten(self.after(x), 1)
        return self.fc2(torch.tanh(self.fc1(x)))


def cut(model: nn.Module, size: int = 8, **more: object) -> Shrunk:
    return prune_network(randomise(model), 3, (size, size), options("ratio=0.5", multiple=4, **more))


def test_couplings_through_many_operators_survive_verification() -> None:
    shrunk = cut(Coupled())
    kept = {g.name: (g.channels, g.kept) for g in shrunk.groups if g.prunable}
    assert kept["stem"] == (16, 8)
    assert kept["left"] == (16, 8)
    assert kept["right"] == (24, 12)
    model = shrunk.model
    assert (model.after.in_channels, model.depthwise.groups, model.slope.num_parameters) == (20, 8, 12)
    assert model.fc1.in_features == 8 * 9


class HardCodedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3, padding=1)
        self.b = nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.b(nnf.relu(self.a(x))).view(-1, 16 * 64))


def test_code_that_names_its_features_keeps_those_channels_and_says_so() -> None:
    shrunk = cut(HardCodedView())
    rows = {g.name: g for g in shrunk.groups}
    assert (rows["a"].kept, rows["b"].kept) == (8, 16)
    assert "torch.flatten" in rows["b"].reason
    assert "reshape" in shrunk.notes[0]


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3)
        self.b = nn.Conv2d(16, 16, 3)
        self.g = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.c = nn.Conv2d(16, 16, 1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cumsum(self.b(nnf.relu(self.a(x))), 1)
        return self.fc(self.c(self.g(x)).mean((2, 3)))


def test_operators_without_a_rule_pin_their_channels_and_are_reported() -> None:
    rows = {g.name: g for g in cut(Unknown()).groups}
    assert "cumsum" in rows["b"].reason
    assert "grouped convolution" in rows["g"].reason
    assert (rows["a"].kept, rows["b"].kept, rows["c"].kept) == (8, 16, 8)


def test_verification_refuses_a_wrong_cut_and_a_kept_bias() -> None:
    model = randomise(build_model("lenet5", 1, 10, 16))
    channels = analyse(model, example_input(1, (16, 16)))
    tensors = dict(model.named_parameters())
    kept = {0: np.arange(8)}
    cuts = cuts_for(channels, kept, tensors)
    reference = masked(model, channels, kept)
    inputs = example_input(1, (16, 16))
    assert verify(shrink(model, cuts), reference, inputs) <= 1e-4
    wrong = {**cuts, "conv2.weight": {1: list(range(1, 9))}}
    with pytest.raises(SurgeryError, match="differs from the masked one"):
        verify(shrink(model, wrong), reference, inputs)
    with pytest.raises(SurgeryError, match="does not run"):
        verify(shrink(model, {k: v for k, v in cuts.items() if k != "conv2.weight"}), reference, inputs)
    with torch.no_grad():
        reference.conv1.bias.copy_(model.conv1.bias)
    with pytest.raises(SurgeryError, match="differs"):
        verify(shrink(model, cuts), reference, inputs)


class Cancelling(nn.Module):
    """``x + y - x`` at a size of x where float32 loses much of y."""

    def __init__(self, y: float) -> None:
        super().__init__()
        self.y = y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 1e5 + self.y) - x * 1e5


def test_what_only_rounding_tells_apart_is_judged_in_float64() -> None:
    third = nn.Threshold(torch.inf, 1 / 3)  # 1/3 everywhere
    x = torch.randn(2, 3, 4, 4)
    assert float((Cancelling(1 / 3)(x) - third(x)).abs().max()) > RELATIVE_TOLERANCE
    assert verify(Cancelling(1 / 3), third, x) < 1e-9
    with pytest.raises(SurgeryError, match=r"differs from the masked one by 0\.001"):
        verify(Cancelling(1.001 / 3), third, x)


class Unpooling(nn.Module):
    """As SegNet: where an encoder's pooling found its maxima, there the decoder puts its values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, places = nnf.max_pool2d(nnf.relu(self.first(x)), 2, return_indices=True)
        return self.head(nnf.max_unpool2d(nnf.relu(self.second(x)), places, 2))


def test_unpooling_joins_the_channels_of_both_sides() -> None:
    model = randomise(Unpooling())
    shrunk = prune_network(model, 3, (16, 16), options("ratio=0.5"))
    assert shrunk.model.first.out_channels == shrunk.model.second.out_channels == 8
    assert [g.layers for g in shrunk.groups if g.prunable] == [("first", "second")]


def test_excluded_modules_keep_their_channels() -> None:
    model = randomise(build_model("resnet8", 3, 10, 16))
    shrunk = prune_network(model, 3, (16, 16), options("ratio=0.5", exclude=("layer3.0.conv1",)))
    assert shrunk.model.get_submodule("layer3.0.conv1").out_channels == 64
    with pytest.raises(InputError, match="no module 'nowhere'"):
        prune_network(model, 3, (16, 16), options(exclude=("nowhere",)))


def test_an_impossible_budget_is_refused_with_the_smallest_that_is_possible() -> None:
    model = build_model("resnet8", 3, 10, 16)
    allowed = r"ops=0\.1% cannot be met; the least that --multiple 8 and --min-keep 0\.1 allow is ops=\d+\.\d+%"
    with pytest.raises(BudgetError, match=allowed):
        proprune_cli.prune_module(model, (3, 16, 16), budget="ops=0.1%")
