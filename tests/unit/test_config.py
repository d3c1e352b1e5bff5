"""Run files: validated whole, every fault listed, the command line wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from proprune_cli.compile.options import CompileOptions
from proprune_cli.config import compile_options, load_run_file, prune_options
from proprune_cli.errors import InputError, UsageError
from proprune_cli.prune import Budget, PruneOptions, TrainOptions
from proprune_cli.resources import resource_dir


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """
version: 1
prune:
  model: resnet20
  data: digits
  budget: ops=0.25
  data_dir: some/where
  exclude: [conv1, fc]
  train: {lr: 1, batch: 64}
compile:
  array: z7020-384
"""


def test_a_file_becomes_options(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert prune_options(path, {}) == PruneOptions(
        model="resnet20",
        data="digits",
        budget=Budget("ops", 0.25),
        data_dir=Path("some/where"),
        exclude=("conv1", "fc"),
        train=TrainOptions(lr=1.0, batch=64),
    )
    assert compile_options(path, {}) == CompileOptions(array="z7020-384")


def test_the_command_line_wins(tmp_path: Path) -> None:
    options = prune_options(
        write(tmp_path, GOOD), {"model": "lenet5", "budget": "ratio=0.1", "train.lr": 0.5, "seed": None}
    )
    assert (options.model, options.budget, options.train) == ("lenet5", Budget("ratio", 0.1), TrainOptions(64, lr=0.5))
    assert options.data == "digits"


def test_no_file_gives_the_defaults() -> None:
    assert prune_options(None, {"model": "m:f", "data": "digits"}) == PruneOptions(model="m:f", data="digits")
    assert compile_options(None, {"board": None}) == CompileOptions()


def test_a_missing_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--model is missing"):
        prune_options(None, {"data": "digits"})


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    text = """
version: 1
prune:
  modle: resnet20
  epochs: "three"
  seed: 1.5
  scope: everywhere
  train: {lr: fast, speed: 3}
compile: 7
other: {}
"""
    with pytest.raises(InputError) as caught:
        load_run_file(write(tmp_path, text))
    faults = caught.value.what.splitlines()
    assert faults[0] == "the run file has 8 faults"
    places = [line.strip().partition(":")[0] for line in faults[1:]]
    assert places == [
        "compile",
        "other",
        "prune.epochs",
        "prune.modle",
        "prune.scope",
        "prune.seed",
        "prune.train.lr",
        "prune.train.speed",
    ]
    assert "prune.modle: unknown key" in caught.value.what


def test_every_value_out_of_range_is_listed_at_once(tmp_path: Path) -> None:
    text = "version: 1\nprune: {epochs: -1, budget: ops=2, seed: -5, train: {lr: -1.0, batch: 0}}\n"
    with pytest.raises(InputError) as caught:
        load_run_file(write(tmp_path, text))
    places = [line.strip().partition(":")[0] for line in caught.value.what.splitlines()[1:]]
    assert places == ["prune.budget", "prune.epochs", "prune.seed", "prune.train.batch", "prune.train.lr"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nprune:\n  seed: 1\n  seed: 2\n", "key given twice: seed in line 3"),
        ("version: [1\n", "not YAML"),
        ("version: 2\n", "version: must be 1, not 2"),
        ("prune: {}\n", "version: is missing"),
        ("", "must be a section"),
        ("version: 1\nprune: {model: !!python/object:os.system {}}\n", "not YAML"),
        ("version: 1\nprune: {lr: .nan}\n", "no use here"),
        ("version: 1\nprune: {model: 2026-01-01}\n", "no use here"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_run_file(write(tmp_path, text))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run file"):
        load_run_file(tmp_path / "run.yaml")


@pytest.mark.parametrize("path", sorted((resource_dir("configs") / "runs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_run_file_that_ships_is_valid(path: Path) -> None:
    assert prune_options(path, {}).model
    assert compile_options(path, {}).board
