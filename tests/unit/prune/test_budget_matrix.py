"""Every method with every kind of budget and every schedule: met, or refused, or missed and said so."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

import proprune_cli
from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.cli.app import run_cli
from proprune_cli.errors import BudgetError, ExitCode, UsageError
from proprune_cli.flow.cost_models import EnergyModel, LatencyModel, cost_model
from proprune_cli.flow.prune import missed, prune
from proprune_cli.modules.probe import example_input
from proprune_cli.prune import Budget, PruneOptions, TrainOptions, check, load_run
from proprune_cli.prune.methods import METHODS
from proprune_cli.prune.options import BudgetKind, PruneSchedule
from proprune_cli.prune.result import PruneResult
from proprune_cli.prune.verdict import judge
from proprune_cli.train.tensors import pack, state, unpack

WIDTHS = (16, 24, 32)
OPTIONS = PruneOptions(
    model="tests.unit.prune.test_budget_matrix:chain",
    data="digits",
    epochs=0,
    finetune_epochs=0,
    thin=False,
    calibration=4,
    test_images=0,
    engine=False,
    train=TrainOptions(threads=1, batch=256),
)


def chain() -> nn.Module:
    """Convolutions with batch norms, so that every importance has something to score."""
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise((1, *WIDTHS)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 10))


def asked(kind: str, share: float) -> Budget:
    return Budget.parse(f"{kind}={100 * share:g}%")


def follows(method: str, schedule: str) -> bool:
    return (schedule == "training") == (METHODS[method].training is not None)


@pytest.mark.parametrize("schedule", get_args(PruneSchedule))
@pytest.mark.parametrize("kind", get_args(BudgetKind))
@pytest.mark.parametrize("method", METHODS)
def test_a_budget_is_taken_by_who_scores_channels_and_refused_by_all_others(
    method: str, kind: str, schedule: Any
) -> None:
    options = dataclasses.replace(OPTIONS, method=method, budget=asked(kind, 0.5), schedule=schedule)
    if METHODS[method].importance is not None and follows(method, schedule):
        check(options)
        return
    with pytest.raises(UsageError) as refused:
        check(options)
    assert refused.value.remedy
    if METHODS[method].importance is None:
        assert f"{method} takes no budget" in str(refused.value)
        assert f"{kind}=50%" in str(refused.value)
        if follows(method, schedule):
            check(dataclasses.replace(options, budget=PruneOptions("m", "d").budget))  # nobody asked for this one


def counted(model: nn.Module) -> dict[str, float]:
    """Channels, multiply-accumulates and parameters of a chain, by its weights and a forward pass."""
    found = {"ratio": 0.0, "ops": 0.0, "params": float(sum(p.numel() for p in model.parameters()))}

    def count(layer: Any, _: Any, output: torch.Tensor) -> None:
        found["ops"] += layer.weight[0].numel() * output.numel()
        found["ratio"] += layer.weight.shape[0]

    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, 8, 8))
    for handle in handles:
        handle.remove()
    found["ratio"] -= 10  # the outputs are no channels to prune
    layers = CostTable(analyse(model, example_input(1, (8, 8))))
    return found | {"cost": cost_model("cost", "pynq-z2", None).cost(layers.layers(layers.full))}


class Scales:
    """In the place of a board: compiled networks cost what they have in weights.

    ``lies``: what it says of compiled networks while channels are chosen, over what it says at the end.
    """

    lies = 1.0

    @staticmethod
    def weigh(network: bytes) -> float:
        """Milliseconds: a thousandth for each weight, and half a one for whatever is no layer."""
        return 0.0005 + 0.001 * sum(t.numel() for n, t in unpack(network, "network")[0].items() if n.endswith("weight"))

    @classmethod
    def compiled(cls, _: LatencyModel, network: bytes, images: Any) -> float:
        assert images.shape[1:] == (1, 8, 8)
        return cls.lies * cls.weigh(network)

    @staticmethod
    def around(model: LatencyModel, network: bytes, images: Any, layers: Any) -> LatencyModel:
        del network, images, layers
        return model

    @classmethod
    def predicted(cls, _: LatencyModel, source: Path, calibration: Path | None) -> Any:
        del calibration
        file = source / "pruned" if source.is_dir() else source.parent / "dense"
        figure = cls.weigh(file.with_suffix(".safetensors").read_bytes())
        return SimpleNamespace(latency_ms=figure, energy_mj=figure, model="scales")


@pytest.fixture
def scales(monkeypatch: pytest.MonkeyPatch) -> type[Scales]:
    """Without exports, each of which takes seconds."""
    for place in ("pipeline", "publish"):
        monkeypatch.setattr(f"proprune_cli.prune.{place}.to_onnx", lambda *_: b"")
    monkeypatch.setattr("proprune_cli.prune.phases.to_onnx", lambda model, *_: pack(state(model)))
    monkeypatch.setattr(Scales, "lies", 1.0)
    for model in (LatencyModel, EnergyModel):
        monkeypatch.setattr(model, "around", lambda *given: Scales.around(*given))
        monkeypatch.setattr(model, "compiled", lambda *given: Scales.compiled(*given))
        monkeypatch.setattr(model, "predicted", lambda *given: Scales.predicted(*given))
    return Scales


def cases(methods: Sequence[str]) -> list[tuple[str, str, str]]:
    """Every kind of budget with every schedule and every method at least once."""
    rng = np.random.default_rng(12)
    kinds = get_args(BudgetKind)
    able = [(m, s) for m in methods for s in METHODS[m].schedules if METHODS[m].importance is not None]
    whole = [(m, s, k) for (m, s), k in itertools.product(able, kinds) if m in ("l1", "swd")]
    return whole + [(m, s, str(rng.choice(kinds))) for m, s in able if m not in ("l1", "swd")]


@pytest.mark.parametrize(("method", "schedule", "kind"), cases(list(METHODS)))
@pytest.mark.usefixtures("scales")
def test_what_a_run_reaches_is_what_its_networks_count(method: str, schedule: Any, kind: str, tmp_path: Path) -> None:
    share = float(np.random.default_rng([ord(c) for c in method + schedule + kind]).uniform(0.4, 0.6))
    options = dataclasses.replace(OPTIONS, method=method, schedule=schedule, budget=asked(kind, round(share, 2)))
    result, compiled = prune(options, tmp_path / "run")
    assert missed(options, tmp_path / "run", result, compiled) is None
    if kind in ("ms", "mj"):
        now, dense = (Scales.weigh((tmp_path / f"run/{n}.safetensors").read_bytes()) for n in ("pruned", "dense"))
    else:
        now, dense = (counted(load_run(tmp_path / "run", name, trust=True))[kind] for name in ("pruned", "dense"))
    limit = options.budget.value
    assert 1 - now / dense >= limit - 0.02 if kind == "ratio" else now / dense <= limit * (1 + 0.005)
    verdict = result.verdict if compiled is None else compiled.verdict(options.budget)
    assert verdict is not None
    assert verdict.reached == pytest.approx(100 * (1 - now / dense if kind == "ratio" else now / dense), rel=1e-4)
    document = json.loads((tmp_path / "run/results.json").read_text())
    assert PruneResult.from_json(document) == result
    if compiled is None:
        assert document["verdict"]["met"]
    old = {name: value for name, value in document.items() if name not in ("verdict", "least")}
    assert PruneResult.from_json(old).finetuned == result.finetuned  # a result of before there were verdicts


@pytest.mark.parametrize(("method", "schedule", "kind"), cases(list(METHODS))[:18])
@pytest.mark.usefixtures("scales")
def test_a_budget_that_cannot_be_met_is_refused_before_training_with_the_least_that_can(
    method: str, schedule: Any, kind: str, tmp_path: Path
) -> None:
    options = dataclasses.replace(
        OPTIONS,
        method=method,
        schedule=schedule,
        budget=asked(kind, 0.97 if kind == "ratio" else 0.01),
        epochs=10**6,
        finetune_epochs=10**6,
    )
    with pytest.raises(BudgetError, match=f"the budget {kind}=9?[17]% cannot be met") as refused:
        prune(options, tmp_path / "run")
    assert refused.value.exit_code == ExitCode.GATE
    assert not any(path.name.startswith("dense") for path in (tmp_path / "run/stages").glob("*"))
    least = float(refused.value.what.rpartition("=")[2].rstrip("%"))
    # One channel group of 8 in each layer is the smallest there is.
    if kind == "ratio":
        assert least == pytest.approx(100 * (1 - 24 / sum(WIDTHS)), rel=1e-3)
    if kind == "ops":
        macs = [a * b * 9 * 64 for a, b in itertools.pairwise((1, 8, 8, 8))], [9 * 64 * 16, 9 * 64 * 384, 9 * 64 * 768]
        assert least == pytest.approx(100 * (sum(macs[0]) + 80) / (sum(macs[1]) + 320), rel=1e-3)


@pytest.mark.usefixtures("scales")
@pytest.mark.parametrize(("kind", "unit"), [("ms", "ms"), ("mj", "mJ")])
def test_a_budget_in_milliseconds_is_spoken_of_in_milliseconds(kind: str, unit: str, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, budget=Budget.parse(f"{kind}=0.001"), epochs=10**6)
    told = rf"budget {kind}=0\.001 cannot be met; the least .* is {kind}=\d+\.\d+\n"
    with pytest.raises(BudgetError, match=told) as refused:
        prune(options, tmp_path / "run")
    least = float(refused.value.what.rpartition("=")[2])
    # Three layers of 8 channels with their norms, and the last: 9·8 + 2·(9·64) + 3·8 + 80 weights.
    assert least == pytest.approx(0.001 * (72 + 2 * 576 + 24 + 80) + 0.0005, rel=1e-3)
    budget = Budget.parse(f"{kind}={1.01 * least:.4f}")
    result, compiled = prune(dataclasses.replace(OPTIONS, budget=budget), tmp_path / "2")
    assert compiled is not None and result.verdict is None
    verdict = compiled.verdict(budget)
    assert (verdict.unit, verdict.met) == (unit, True)
    assert verdict.reached == pytest.approx(least, rel=1e-3)


@pytest.mark.usefixtures("scales")
def test_a_ratio_beyond_what_nearest_sizes_give_is_met_where_other_groups_can_make_up(tmp_path: Path) -> None:
    """Nearest sizes of 65 % off 16, 24 and 32 are 8, 8 and 8; of 55 % they are 8, 8 and 16."""
    for share, kept in ((0.55, 32), (0.65, 24)):
        options = dataclasses.replace(OPTIONS, budget=Budget("ratio", share))
        result, _ = prune(options, tmp_path / f"{share}")
        assert result.verdict is not None and result.verdict.met
        assert counted(load_run(tmp_path / f"{share}", trust=True))["ratio"] == kept


@pytest.mark.usefixtures("scales")
def test_many_rounds_go_as_far_as_one_and_those_with_nothing_to_do_do_nothing(tmp_path: Path) -> None:
    """Sizes are multiples of 8, so that a sixth of the way is no step for most groups, and one step several sixths."""
    options = dataclasses.replace(OPTIONS, schedule="iterative", rounds=6, budget=Budget("ops", 0.12))
    result, _ = prune(options, tmp_path / "run")
    assert result.verdict is not None and result.verdict.met
    stages = [json.loads((tmp_path / f"run/stages/prune-{n}/report.json").read_text())["shrunk"] for n in range(1, 6)]
    left = 1.0
    for number, stage in enumerate(stages, 1):
        # Whoever is there already stays there.
        assert (stage["achieved"] == 1.0) == (left <= 0.12 ** (number / 6))
        left *= stage["achieved"]


def test_a_finished_run_that_misses_its_budget_is_kept_and_raises(scales: type[Scales], tmp_path: Path) -> None:
    """The choice trusts a prediction that is half of what comes out."""
    scales.lies = 0.5
    plain = {
        n: getattr(OPTIONS, n) for n in ("epochs", "finetune_epochs", "thin", "calibration", "test_images", "engine")
    }
    with pytest.raises(
        BudgetError, match=r"ms=4 is missed: reached ms=[\d.]+, [\d.]+ % over; the least .* ms="
    ) as error:
        proprune_cli.run_prune(
            tmp_path / "run", model=OPTIONS.model, data="digits", budget="ms=4", train={"threads": 1}, **plain
        )
    assert error.value.exit_code == 5 and str(tmp_path / "run") in error.value.where
    reached = float(error.value.what.partition("reached ms=")[2].partition(",")[0])
    assert 4 < reached <= 8
    assert reached == pytest.approx(scales.weigh((tmp_path / "run/pruned.safetensors").read_bytes()), rel=1e-3)
    assert not json.loads((tmp_path / "run/predicted.json").read_text())["met"]
    assert counted(load_run(tmp_path / "run", trust=True))["params"] < 1000 * reached * 1.1


def test_the_command_shows_the_run_then_ends_with_5(
    scales: type[Scales], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scales.lies = 0.5
    command = ["prune", "--model", OPTIONS.model, "--data", "digits", "--epochs", "0", "--finetune-epochs", "0"]
    command += ["--no-thin", "--no-engine", "--threads", "1", "--budget", "ms=4", "--out", str(tmp_path / "run")]
    assert run_cli(command) == 5
    shown = capsys.readouterr()
    assert "fine-tuned" in shown.out and "over the budget of 4.000 ms" in shown.out
    assert "\nerror: the budget ms=4 is missed: reached ms=" in shown.err
    assert run_cli([*command, "--json"]) == 5
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert not document["predicted"]["met"] and document["result"]["finetuned"]["macs"]
    assert "error: the budget ms=4 is missed" in shown.err
    scales.lies = 1.0
    assert run_cli([*command[:-1], str(tmp_path / "honest")]) == 0


def test_a_verdict_is_said_in_the_unit_of_the_budget_and_says_by_how_much() -> None:
    budget = Budget.parse("ms=0.05").of(0.5)
    error = judge(budget, 0.177, 0.15, compiled=True).missed("runs/x", 8, 0.1)
    assert error.exit_code == 5
    assert error.what == (
        "the budget ms=0.05 is missed: reached ms=0.0885, 77 % over; "
        "the least that --multiple 8 and --min-keep 0.1 allow is ms=0.075"
    )
    error = judge(Budget.parse("ratio=95%"), 0.85, 0.874).missed("runs/x", 4, 0.2)
    assert error.what == (
        "the budget ratio=95% is missed: reached ratio=85%, 10 % of the channels too few; "
        "the most that --multiple 4 and --min-keep 0.2 allow is ratio=87.4%"
    )
    assert "ratio=0.85," in str(judge(Budget.parse("ratio=0.95"), 0.85, None).missed("x", 8, 0.1))
    assert judge(Budget("ops", 0.5), 0.5, None).met and not judge(Budget("ops", 0.5), 0.5001, None).met
    assert judge(Budget("ratio", 0.5), 0.481, None).met and not judge(Budget("ratio", 0.5), 0.479, None).met
    assert judge(Budget("ms", 0.5), 0.502, None, compiled=True).met
    assert not judge(Budget("ms", 0.5), 0.503, None, compiled=True).met
