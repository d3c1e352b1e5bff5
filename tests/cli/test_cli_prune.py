"""From training to an artifact through the command line, on the bundled digits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from proprune_cli.artifact import load_artifact
from proprune_cli.cli.app import run_cli
from proprune_cli.flow import demo
from proprune_cli.prune import Budget, PruneOptions, TrainOptions

RUN_FILE = """
version: 1
prune:
  model: resnet8?width=0.5
  data: digits?size=16
  budget: ops=0.6
  epochs: 1
  finetune_epochs: 1
  thin: false
  train: {threads: 1, batch: 64}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("prune")
    (directory / "run.yaml").write_text(RUN_FILE)
    out = directory / "run"
    # The command line wins over the file's seed.
    assert run_cli(["prune", "--config", str(directory / "run.yaml"), "--out", str(out), "--seed", "3"]) == 0
    return out


def test_a_run_compiles_without_more_options_and_runs_on_the_emulated_board(run: Path, cli, tmp_path: Path) -> None:
    net = tmp_path / "net.ppr"
    assert cli("compile", run, "-o", net).code == 0
    assert cli("deploy", net, "--board", "emulated:pynq-z2").code == 0
    network = load_artifact(net)
    assert network.input_shape == (1, 16, 16)
    assert [output.shape for output in network.program.outputs] == [(10,)]


def test_the_pruned_network_costs_less_than_the_dense_one(run: Path, cli, tmp_path: Path) -> None:
    images = str(run / "calibration.npy")
    for name, file in (("dense", "dense.onnx"), ("pruned", "model.onnx")):
        assert cli("compile", run / file, "--calibration", images, "-o", tmp_path / f"{name}.ppr").code == 0
    dense, pruned = cli("bench", tmp_path / "dense.ppr", tmp_path / "pruned.ppr", "--json").document["rows"]
    assert pruned["macs"] < 0.65 * dense["macs"]
    assert pruned["cycles"] < dense["cycles"]
    assert pruned["energy_mj"] < dense["energy_mj"]


def test_giving_the_command_again_resumes_and_says_the_same(run: Path, cli) -> None:
    arguments = ("prune", "--config", run.parent / "run.yaml", "--out", run, "--seed", 3)
    first = cli(*arguments, "--json")
    assert first.code == 0
    assert first.document["options"]["seed"] == 3
    assert first.document["result"]["finetuned"]["macs"] < first.document["result"]["dense"]["macs"]
    assert cli(*arguments, "--json").document == first.document
    assert "fine-tuned" in cli(*arguments).out


def test_other_options_in_the_same_directory_are_refused(run: Path, cli) -> None:
    done = cli("prune", "--config", run.parent / "run.yaml", "--out", run, "--seed", 4)
    assert done.code == 1
    assert "seed" in done.err


def test_calibrating_by_a_data_sets_name_uses_its_training_images(run: Path, cli, tmp_path: Path) -> None:
    net = tmp_path / "net.ppr"
    assert cli("compile", run / "model.onnx", "--calibration", "digits?size=16", "-o", net).code == 0
    assert np.abs(load_artifact(net).golden.image).max() > 0


def test_the_demonstration_compares_three_networks_and_three_executors(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = PruneOptions(
        model="resnet8?width=0.5",
        data="digits?size=16",
        budget=Budget("ops", 0.6),
        epochs=1,
        finetune_epochs=1,
        train=TrainOptions(batch=64, threads=1),
        test_images=0,
    )
    monkeypatch.setitem(demo.PRESETS, "digits", quick)
    done = cli("demo", "--out", tmp_path / "out", "--images", 40, "--json")
    assert done.code == 0, done.err
    document = done.document
    assert [row["network"] for row in document["rows"]] == ["dense", "pruned", "thin"]
    dense, pruned, _ = document["rows"]
    assert pruned["bench"]["macs"] < 0.65 * dense["bench"]["macs"]
    assert pruned["weights"] < dense["weights"]
    assert {row["bench"]["source"] for row in document["rows"]} == {"predicted"}
    engine, interpreter, unoptimised = document["agreements"]
    assert (engine["images"], engine["bytes_compared"], engine["bytes_different"]) == (120, 1200, 0)
    assert interpreter["images"] == unoptimised["images"] == 30
    assert all(Path(path).is_file() for path in document["artifacts"])

    shown = cli("demo", "--out", tmp_path / "out", "--images", 40)
    assert "0 of 1,200 (C++ engine on the emulated board, 120 images)" in shown.out
    assert "predicted latency" in shown.out


def test_a_difference_between_executors_fails_the_demonstration() -> None:
    from proprune_cli.errors import GateError

    agree = demo.Agreement("interpreter", 3, 30, 0)
    assert demo._summed([agree, agree]) == (demo.Agreement("interpreter", 6, 60, 0),)
    with pytest.raises(GateError, match="differ in 2 of 60"):
        demo._summed([agree, dataclasses.replace(agree, bytes_different=2)])


def test_the_result_file_is_what_json_prints(run: Path, cli) -> None:
    printed = cli("prune", "--config", run.parent / "run.yaml", "--out", run, "--seed", 3, "--json").document["result"]
    assert json.loads((run / "results.json").read_text()) == printed


def test_a_guided_binary_run_says_how_many_weights_are_left(cli, tmp_path: Path) -> None:
    arguments = ("prune", "--model", "resnet8?widths=8,16,16", "--data", "digits", "--method", "guided", "--binary",
                 "--epochs", 1, "--finetune-epochs", 1, "--no-thin", "--out", tmp_path / "run")  # fmt: skip
    done = cli(*arguments, "--json")
    assert done.code == 0, done.err
    final = done.document["result"]["finetuned"]
    assert final["nonzero_params"] < 0.25 * final["params"]
    assert final["nonzero_macs"] < 0.25 * final["macs"]
    assert "non-zero" in cli(*arguments).out
    assert cli("compile", tmp_path / "run", "-o", tmp_path / "net.ppr").code == 0
    (row,) = cli("bench", tmp_path / "net.ppr", "--json").document["rows"]
    assert (row["macs"], row["nonzero_macs"]) == (final["macs"], final["nonzero_macs"])
    assert row["useful_macs"] <= row["issued_macs"] and row["mac_utilisation"] <= 1
    assert all(layer["mac_utilisation"] <= 1 for layer in row["layers"])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--method", "guided", "--rounds", 3), "guided cannot follow the schedule 'iterative'"),
        (("--method", "lobster?speed=3"), "lobster has no option 'speed'"),
        (("--freeze", "all"), "'all' is not a choice"),
    ],
)
def test_a_method_that_makes_no_sense_is_refused_before_a_run_directory_appears(
    options: tuple[object, ...], fault: str, cli, tmp_path: Path
) -> None:
    done = cli("prune", "--model", "lenet5", "--data", "digits", *options, "--out", tmp_path / "run")
    assert done.code == 2
    assert fault in done.err
    assert not (tmp_path / "run").exists()
