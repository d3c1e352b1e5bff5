"""Budgets in predicted milliseconds and millijoules: written, counted, met, and checked on the compiled network."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.compile.options import CompileOptions
from proprune_cli.errors import InputError, UsageError
from proprune_cli.flow.build import build
from proprune_cli.flow.cost_models import cost_model
from proprune_cli.flow.prune import prune
from proprune_cli.measure.predicted import predict
from proprune_cli.modules.copying import without_zeros
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model
from proprune_cli.nets.zoo.resnet_cifar import resnet8
from proprune_cli.prune import Budget, PruneOptions, TrainOptions
from proprune_cli.prune.compiled_budget import within
from proprune_cli.prune.cost import OperationCost
from proprune_cli.prune.objective import DifferentiableCost, SoftLayer
from proprune_cli.prune.shrinking import prune_network


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("ops=50%", Budget("ops", 0.5)),
        ("ms=3.5", Budget("ms", 3.5, absolute=True)),
        ("ms=40%", Budget("ms", 0.4)),
        ("mj=12", Budget("mj", 12.0, absolute=True)),
    ],
)
def test_a_budget_is_read_and_written_back(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize("text", ["ms=0", "ms=-1", "mj=nan", "ms=140%", "ops=3"])
def test_amounts_that_mean_nothing_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        Budget.parse(text)


@pytest.mark.parametrize("kind", ["ms", "mj"])
def test_the_choice_keeps_within_a_predicted_budget_and_uses_most_of_it(kind: str) -> None:
    model, size = build_model("resnet20", 3, 10, 32), (32, 32)
    predicted = cost_model(kind, "pynq-z2", None)
    table = CostTable(analyse(model, example_input(3, size)))
    dense = predicted.cost(table.layers(table.full))
    limit = 0.5 * dense
    options = PruneOptions(model="resnet20", data="digits", budget=Budget(kind, limit, absolute=True))  # type: ignore[arg-type]
    shrunk = prune_network(model, 3, size, options, predicted)
    after = CostTable(analyse(shrunk.model, example_input(3, size)))
    figure = predicted.cost(after.layers(after.full))
    assert 0.9 * limit < figure <= limit
    assert figure == pytest.approx(shrunk.achieved * dense)


def test_predicting_takes_about_a_millisecond() -> None:
    model = build_model("resnet18", 3, 10, 64)
    table = CostTable(analyse(model, example_input(3, (64, 64))))
    layers, predicted = table.layers(table.full), cost_model("ms", "pynq-z2", None)
    predicted.cost(layers)
    taken: list[float] = []
    for _ in range(20):
        start = time.perf_counter()
        predicted.cost(layers)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 4e-3  # twice that of a quiet core: tests share it


def test_an_operation_budget_stays_one_whatever_model_is_there() -> None:
    model = build_model("resnet8", 1, 10, 28)
    options = PruneOptions(model="resnet8", data="digits")
    predicted = cost_model("ops", "pynq-z2", None)
    assert prune_network(model, 1, (28, 28), options, predicted).achieved == pytest.approx(
        prune_network(model, 1, (28, 28), options).achieved
    )


def test_a_dense_network_within_the_budget_is_said_to_be() -> None:
    model = build_model("resnet8", 1, 10, 28)
    options = PruneOptions(model="resnet8", data="digits", budget=Budget("ms", 1e3, absolute=True))
    with pytest.raises(InputError, match="within the budget"):
        prune_network(model, 1, (28, 28), options, cost_model("ms", "pynq-z2", None))


@pytest.mark.parametrize("wrong_by", [0.7, 0.9, 1.0, 1.1, 1.5])
@pytest.mark.parametrize("grain", [0.001, 0.05])
def test_the_share_is_adjusted_until_the_compiled_network_keeps_to_the_limit(wrong_by: float, grain: float) -> None:
    """The choice counts 100 times its share, in steps; the compiled network takes ``wrong_by`` times as much, and 3."""
    tried: list[float] = []

    def prune_by(budget: Budget) -> float:
        tried.append(budget.value)
        return 100 * grain * math.floor(budget.value / grain)

    kept = within(50.0, Budget("ms", 0.5), prune_by, lambda shapes: wrong_by * shapes + 3)
    found, budget = kept.network, kept.budget
    assert kept.figure == wrong_by * found + 3
    assert (0.97 if grain < 0.01 else 0.9) * 50 <= wrong_by * found + 3 <= 50
    assert prune_by(budget) == found and len(tried) <= 6


def test_where_no_share_keeps_to_the_limit_the_smallest_network_is_given() -> None:
    kept = within(50.0, Budget("ms", 0.5), lambda budget: max(budget.value, 0.4), lambda share: 200 * share)
    assert (kept.network, kept.figure) == (0.4, 80.0)


def test_a_copy_without_zeros_leaves_the_network_alone() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    nn.init.zeros_(model[1].weight)
    copy = without_zeros(model)
    assert all(bool((p != 0).all()) for p in copy.parameters()) and not bool(model[1].weight.any())


def test_a_run_is_checked_on_the_compiled_network(tmp_path: Path) -> None:
    options = PruneOptions(
        model="resnet8",
        data="digits?size=32",
        budget=Budget("ms", 0.6),
        epochs=1,
        finetune_epochs=1,
        thin=False,
        calibration=20,
        test_images=0,
        train=TrainOptions(threads=1, batch=256),
    )
    result, check = prune(options, tmp_path / "run")
    assert check is not None and check.unit == "ms" and result.achieved < 1
    assert 0.9 * check.limit < check.compiled <= check.limit and check.limit == pytest.approx(0.6 * check.dense)
    assert json.loads((tmp_path / "run/predicted.json").read_text())["met"]
    assert "predicted by" in str(check)


def test_a_soft_cost_is_the_cost_at_full_size_and_its_gradient_what_a_channel_is_worth() -> None:
    model = resnet8(3, 10, (32, 32))
    table = CostTable(analyse(model, example_input(3, (32, 32))))
    works = table.layers(table.full)
    cost = OperationCost()
    assert isinstance(cost, DifferentiableCost)
    shares = [torch.ones((), dtype=torch.float64, requires_grad=True) for _ in works]
    one = torch.ones((), dtype=torch.float64)
    layers = [SoftLayer(work, one, share, one) for work, share in zip(works, shares, strict=True)]
    total = cost.soft_cost(layers)
    assert float(total.detach()) == cost.cost(works) == table.macs(table.full)
    total.backward()
    assert [float(share.grad) for share in shares if share.grad is not None] == [work.macs for work in works]


def test_a_soft_cost_counts_whole_groups_once() -> None:
    """Half of the groups is half of the work, in a grouped convolution as in a depthwise one; not a quarter."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 1),
        torch.nn.Conv2d(32, 32, 3, groups=8),
        torch.nn.Conv2d(32, 64, 3, groups=32),
        torch.nn.ConvTranspose2d(64, 32, 2, groups=2),
        torch.nn.Conv2d(32, 10, 1),
    )
    table = CostTable(analyse(model, example_input(3, (8, 8))))
    halved = table.layers(table.full // 2)
    half = torch.tensor(0.5, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    for full, less in list(zip(table.layers(table.full), halved, strict=True))[1:4]:
        assert full.groups > less.groups and less.macs * 2 == full.macs
        assert float(OperationCost().soft_cost([SoftLayer(full, half, half, one)])) == less.macs


def test_a_budgets_prediction_is_that_of_the_whole_artifact(tmp_path: Path) -> None:
    network = to_onnx(resnet8(3, 10, (32, 32)).eval(), example_input(3, (32, 32)))
    images = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32)
    (tmp_path / "net.onnx").write_bytes(network)
    np.save(tmp_path / "images.npy", images)
    artifact = build(tmp_path / "net.onnx", CompileOptions(calibration=str(tmp_path / "images.npy")))
    for kind in ("ms", "mj"):
        model = cost_model(kind, "pynq-z2", None)
        record = predict(artifact, "net", model.board, model.array)
        assert model.compiled(network, images) == (record.latency_ms if kind == "ms" else record.energy_mj)
