"""The knapsack: its solver against enumeration, its structures against what hardware does, and its loop."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.compile.options import CompileOptions
from proprune_cli.errors import BudgetError
from proprune_cli.flow.build import build
from proprune_cli.flow.cost_models import engine_taps
from proprune_cli.flow.prune import prune_into
from proprune_cli.measure.predicted import predict
from proprune_cli.ops.taps import lane_layout, positions
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.prune.knapsack.engine import tap_labels
from proprune_cli.prune.knapsack.solve import best_of_each_layer, solve
from proprune_cli.prune.knapsack.structures import norms
from proprune_cli.prune.knapsack.unrolled import consecutive, unrolled_structures
from proprune_cli.prune.objective import EngineTaps


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), resources=st.integers(1, 3), share=st.floats(0.1, 0.9))
def test_the_solution_is_the_best_of_all_choices(seed: int, resources: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    count = 9
    values, costs = rng.random(count), rng.integers(1, 9, (count, resources)).astype(np.float64)
    limits = share * costs.sum(axis=0)
    choices = np.array(list(itertools.product([False, True], repeat=count)))
    best = max(values[c].sum() for c in choices if (costs[c].sum(axis=0) <= limits).all())
    found = solve(values, costs, limits, np.zeros(count, dtype=np.bool_))
    assert (costs[found.keep].sum(axis=0) <= limits + 1e-9).all()
    assert found.value == pytest.approx(best, rel=1e-4)
    assert found.value <= found.bound + 1e-9


def test_a_hundred_thousand_structures_are_solved_to_a_proven_gap() -> None:
    rng = np.random.default_rng(3)
    costs = np.repeat(rng.integers(1, 50, (20, 3)), 5000, axis=0).astype(np.float64)
    values = rng.random(len(costs))
    limits = np.array([0.5, 0.4, 0.6]) * costs.sum(axis=0)
    found = solve(values, costs, limits, best_of_each_layer(values, np.repeat(np.arange(20), 5000), 0.1))
    assert found.gap < 1e-4
    assert (costs[found.keep].sum(axis=0) <= limits).all()


def test_what_every_layer_must_keep_can_be_too_much() -> None:
    with pytest.raises(BudgetError, match="more than the budget"):
        solve(np.ones(4), np.ones((4, 1)), np.array([1.0]), np.array([True, True, False, False]))


@pytest.mark.parametrize("array", ["z7020-256"])
@pytest.mark.parametrize("channels", [1, 3, 8, 12, 16, 24, 40])
def test_structures_are_the_taps_that_the_compiler_makes(array: str, channels: int) -> None:
    built = load_array(array)
    labels, _ = tap_labels((built.oc * 2 + 1, channels, 3, 3), 1, engine_taps(built))
    layout = lane_layout(channels, built, "dense")
    taps = sum(positions(0, 9, layout.lanes(chunk)).taps for chunk in range(layout.chunks))
    assert len(np.unique(labels)) == 3 * taps
    assert len(np.unique(labels[: built.oc])) == taps


def test_the_values_that_stand_for_an_engine_are_those_of_the_smallest_array() -> None:
    assert engine_taps(load_array("z7020-256")) == EngineTaps()


def test_dsp_structures_are_consecutive_weights_and_bram_structures_fill_words() -> None:
    layer = torch.nn.Linear(6, 4)
    dsp = unrolled_structures([("fc", layer)], reuse=3, bits=18, per_bram=False)
    assert dsp.totals().tolist() == [8.0, 4.0]
    assert dsp.layers[0].labels.tolist() == [[2 * o] * 3 + [2 * o + 1] * 3 for o in range(4)]
    bram = unrolled_structures([("fc", layer)], reuse=3, bits=18, per_bram=True)
    assert bram.costs.tolist() == [[2.0, 1.0]] * 4
    assert [consecutive(bits) for bits in (9, 12, 16, 18, 36)] == [4, 3, 9, 2, 1]
    conv = torch.nn.Conv2d(2, 1, (1, 3))
    labels = unrolled_structures([("c", conv)], reuse=2, bits=18, per_bram=False).layers[0].labels
    # Both input channels of a kernel position are neighbours in the matrix.
    assert labels[0, :, 0].tolist() == [[0, 1, 2], [0, 1, 2]]


def test_values_are_norms_over_the_largest_of_the_layer() -> None:
    layer = torch.nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    found = norms(unrolled_structures([("fc", layer)], 2, 16, False), {"fc.weight": layer.weight}, 2)
    assert found.tolist() == [1.0, 0.2]


OPTIONS = PruneOptions(
    model="lenet5?width=0.4",
    data="digits?size=16",
    method="knapsack?cycles=0.5&weights=0.6&steps=2&rtol=0.5",
    epochs=2,
    finetune_epochs=2,
    thin=False,
    calibration=20,
    test_images=0,
    train=TrainOptions(threads=1, batch=64),
)


def _report(run: Path) -> dict[str, list[dict[str, object]]]:
    return json.loads((run / "stages/regularised/report.json").read_text())["hooks"]["knapsack"]


def test_a_run_tightens_its_budget_in_steps_and_stays_within_it(tmp_path: Path) -> None:
    result = prune_into(OPTIONS, tmp_path / "run")
    steps = _report(tmp_path / "run")["steps"]
    assert [step["accepted"] for step in steps] == [True, True]
    assert steps[0]["shares"]["cycles"] <= 0.75 and steps[1]["shares"]["cycles"] <= 0.5  # type: ignore[index]
    assert steps[1]["shares"]["weights"] <= 0.6  # type: ignore[index]
    assert result.finetuned.nonzero_params < 0.8 * result.dense.params


def test_a_step_that_loses_too_much_is_taken_back(tmp_path: Path) -> None:
    strict = replace(OPTIONS, method="knapsack?cycles=0.3&steps=2&rtol=1", finetune_epochs=2)
    strict = replace(strict, train=TrainOptions(threads=1, batch=64, finetune_lr=1e-9))
    result = prune_into(strict, tmp_path / "run")
    steps = _report(tmp_path / "run")["steps"]
    assert [step["accepted"] for step in steps] in ([False], [True, False])
    if len(steps) == 1:
        assert result.finetuned.test_accuracy == result.dense.test_accuracy


def test_without_fine_tuning_the_weights_are_zeroed_too(tmp_path: Path) -> None:
    options = replace(OPTIONS, method="knapsack?target=bram&bits=18&dsp=0.5&value=taylor", epochs=1, finetune_epochs=0)
    result = prune_into(options, tmp_path / "run")
    assert result.finetuned.nonzero_params < 0.55 * result.dense.params


def test_a_memory_budget_below_the_tensors_is_refused_with_their_share(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="belong to its tensors"):
        prune_into(replace(OPTIONS, method="knapsack?ddr=0.01", epochs=0), tmp_path / "run")


class _Interrupted:
    """Stops the process's work in the third epoch of the method's training, after a step was accepted."""

    def __init__(self) -> None:
        self.task, self.done = "", 0

    def start(self, task: str, total: int, done: int = 0) -> None:
        self.task, self.total, self.done = task, total, done

    def advance(self, steps: int = 1, detail: str = "") -> None:
        self.done += steps
        if "knapsack" in self.task and self.done > 0.6 * self.total:
            raise KeyboardInterrupt

    def finish(self, summary: str = "") -> None: ...
    def note(self, text: str) -> None: ...


def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    options = replace(OPTIONS, epochs=1, finetune_epochs=4)
    prune_into(options, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        prune_into(options, tmp_path / "stopped", _Interrupted())
    prune_into(options, tmp_path / "stopped")
    for name in ("pruned.safetensors", "model.onnx"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert _report(tmp_path / "stopped") == _report(tmp_path / "undisturbed")


def test_taps_that_go_are_cycles_that_go(tmp_path: Path) -> None:
    options = replace(OPTIONS, model="resnet8", method="knapsack?cycles=0.4", epochs=0, finetune_epochs=0)
    prune_into(options, tmp_path / "run")
    board, array = load_board("pynq-z2"), load_array("z7020-256")

    def cycles(name: str) -> int:
        asked = CompileOptions(calibration=str(tmp_path / "run/calibration.npy"))
        found = predict(build(tmp_path / "run" / name, asked), name, board, array)
        assert found.cycles is not None
        return found.cycles

    # Loads, stores and additions stay as they are, so the whole network gains less than its taps.
    assert cycles("model.onnx") < 0.75 * cycles("dense.onnx")
