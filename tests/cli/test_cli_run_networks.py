"""The networks of a run, compiled and predicted by the name of the run's directory."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

import proprune_cli
from proprune_cli.artifact import load_artifact
from proprune_cli.artifact.manifest import parse_manifest
from proprune_cli.cli.app import run_cli
from tests.cli.conftest import Cli

FILES = {"dense": "dense.onnx", "pruned": "model.onnx", "thin": "thin.onnx"}
TRAIN = ("prune", "--model", "resnet8?width=0.5", "--data", "digits", "--budget", "ops=0.6", "--multiple", "4",
         "--epochs", "1", "--finetune-epochs", "0")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("networks") / "run"
    assert run_cli([*TRAIN, "--out", str(out)]) == 0
    return out


def compiled(cli: Cli, run: Path, network: str | None, net: Path) -> dict[str, Any]:
    done = cli("compile", run, *(("--network", network) if network else ()), "-o", net, "--json")
    assert done.code == 0, done.err
    return done.document


@pytest.mark.parametrize(("network", "file"), FILES.items())
def test_each_network_of_a_run_compiles_by_its_name(
    run: Path, cli: Cli, tmp_path: Path, network: str, file: str
) -> None:
    net = tmp_path / "net.ppr"
    source = compiled(cli, run, network, net)["manifest"]["source"]
    digest = hashlib.sha256((run / file).read_bytes()).hexdigest()
    assert source == {"name": file, "sha256": digest, "network": network}
    artifact = load_artifact(net)
    assert parse_manifest(artifact.manifest().encode(), "here").source == artifact.source
    assert f"{network} network, from {file}" in cli("inspect", net).out
    # What it computes is that network's function, within what int8 costs, and not another's.
    images = artifact.golden.image
    (wanted,) = ort.InferenceSession(run / file).run(None, {"input": images})
    np.save(tmp_path / "x.npy", images)
    assert cli("run", net, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--board", "interpreter").code == 0
    found = np.load(tmp_path / "y.npy")
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def test_without_a_name_it_is_the_pruned_network(run: Path, cli: Cli, tmp_path: Path) -> None:
    assert compiled(cli, run, None, tmp_path / "a.ppr")["manifest"]["source"]["network"] == "pruned"
    compiled(cli, run, "pruned", tmp_path / "b.ppr")
    assert (tmp_path / "a.ppr").read_bytes() == (tmp_path / "b.ppr").read_bytes()
    (tmp_path / "run.yaml").write_text("version: 1\ncompile: {network: dense}\n")
    done = cli("compile", run, "--config", tmp_path / "run.yaml", "-o", tmp_path / "c.ppr", "--json")
    assert done.document["manifest"]["source"]["network"] == "dense"
    artifact = proprune_cli.run_compile(run, tmp_path / "d.ppr", network="thin")
    assert artifact.source.network == "thin"


def test_an_artifact_of_a_file_says_nothing_of_runs(tiny) -> None:
    assert "network" not in load_artifact(tiny.artifact).manifest().to_json()["source"]


def test_bench_of_a_run_is_bench_of_its_artifacts_side_by_side(run: Path, cli: Cli, tmp_path: Path) -> None:
    before = sorted(run.rglob("*"))
    rows = cli("bench", run, "--json").document["rows"]
    assert sorted(run.rglob("*")) == before
    assert [row.pop("artifact") for row in rows] == [f"{run} {name}" for name in ("dense", "pruned", "thin")]
    assert all(row["source"] == "predicted" and "loop model" in row["model"] for row in rows)
    nets = [tmp_path / f"{name}.ppr" for name in FILES]
    for name, net in zip(FILES, nets, strict=True):
        compiled(cli, run, name, net)
    apart = cli("bench", *nets, "--json").document["rows"]
    for row in apart:
        del row["artifact"]
    assert rows == apart
    assert rows[1]["cycles"] < rows[0]["cycles"]
    shown = cli("bench", run).out
    assert all(f"{run} {name} " in shown for name in FILES) and "predicted by proprune loop model" in shown


def test_bench_of_one_network_on_several_boards_compiles_for_each(run: Path, cli: Cli) -> None:
    boards = ("--board", "emulated:pynq-z2", "--board", "emulated:zcu104")
    rows = cli("bench", run, "--network", "thin", "--network", "dense", *boards, "--json").document["rows"]
    places = (("pynq-z2", "z7020-256"), ("zcu104", "zu-1024"))
    wanted = [(f"{run} {name}", *place) for name in ("thin", "dense") for place in places]
    assert [(row["artifact"], row["board"], row["array"]) for row in rows] == wanted
    assert proprune_cli.run_bench(run, "emulated:zcu104", network="dense").cycles == rows[3]["cycles"]


def test_a_network_that_does_not_compile_is_named(run: Path, cli: Cli, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other)
    (other / "dense.onnx").write_bytes(b"nothing")
    done = cli("bench", other)
    assert done.code == 1
    assert f"where: {other}, dense network" in done.err and "--network" in done.err
    assert cli("bench", other, "--network", "pruned").code == 0


def test_a_run_that_goes_on_without_a_thin_network_has_none(run: Path, cli: Cli, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other)
    assert cli(*TRAIN, "--no-thin", "--force", "--out", other).code == 0
    assert not list(other.glob("thin*"))
    assert [row["artifact"] for row in cli("bench", other, "--json").document["rows"]] == [
        f"{other} dense",
        f"{other} pruned",
    ]
    assert cli("compile", other, "--network", "thin", "-o", tmp_path / "net.ppr").code == 1


def test_layers_go_by_the_names_of_the_runs_modules(run: Path, cli: Cli, tmp_path: Path) -> None:
    net = tmp_path / "net.ppr"
    compiled(cli, run, None, net)
    # The oracle is the module itself: its layers in the order of their execution, with their channels.
    network = proprune_cli.load(run)
    ran: list[tuple[str, int, int]] = []
    names = {module: name.removeprefix("network.") for name, module in network.named_modules()}
    for module in names:
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(
                lambda module, *_: ran.append((names[module], module.weight.shape[1], module.weight.shape[0]))
            )
    network(torch.from_numpy(np.load(run / "calibration.npy")[:1]))

    layers = cli("inspect", net, "--plan", "--json").document["plan"]["layers"]
    told = [(layer["module"], layer["input"][0], layer["output"][0]) for layer in layers if layer["macs"]]
    assert sorted(told) == sorted(ran) and len(ran) > 8
    (row,) = cli("bench", net, "--json").document["rows"]
    assert [layer["module"] for layer in row["layers"]] == [layer["module"] for layer in layers]
    for shown in (cli("bench", net, "--layers").out, cli("inspect", net, "--plan").out):
        (heading,) = (line for line in shown.splitlines() if line.startswith("layer "))
        assert heading.split()[1] == "module"
        assert all(re.search(rf"^\S+ +{re.escape(name)} ", shown, re.M) for name, *_ in ran)
    listed = cli("inspect", net, "--layer", "layer1.0.conv1").out
    assert layers[[layer["module"] for layer in layers].index("layer1.0.conv1")]["name"] in listed


def test_a_network_without_modules_has_no_column_for_them(tiny, cli: Cli) -> None:
    for shown in (cli("bench", tiny.artifact, "--layers").out, cli("inspect", tiny.artifact, "--plan").out):
        assert "module" not in shown
    assert {layer["module"] for layer in cli("bench", tiny.artifact, "--json").document["rows"][0]["layers"]} == {""}
