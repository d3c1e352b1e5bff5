"""What a run directory says is imported and called only where the user says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import proprune_cli
from proprune_cli.errors import InputError
from tests.cli.conftest import Cli

OWN = """
from torch import nn

def network(width=8):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from proprune_cli.cli.app import run_cli

    out = tmp_path_factory.mktemp("trust") / "run"
    network = ("--model", "lenet5?widths=16,16,32", "--data", "digits?size=16")
    epochs = ("--epochs", "1", "--finetune-epochs", "0", "--multiple", "4", "--no-thin", "--budget", "ops=0.7")
    assert run_cli(["prune", *network, *epochs, "--out", str(out)]) == 0
    return out


@pytest.fixture
def planted(run: Path, tmp_path: Path) -> Path:
    """A run from elsewhere, whose files name a command where a model or data should be."""
    return Path(shutil.copytree(run, tmp_path / "planted"))


def plant(file: Path, *keys: str, value: str) -> None:
    document = json.loads(file.read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    assert keys[-1] in place
    place[keys[-1]] = value
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("network", ["pruned", "dense"])
def test_a_command_in_place_of_a_model_does_not_run(cli: Cli, planted: Path, tmp_path: Path, network: str) -> None:
    witness = tmp_path / "ran"
    plant(planted / f"{network}.json", "model", value=f"subprocess:getoutput?cmd=touch {witness}")
    with pytest.raises(InputError, match="would import code"):
        proprune_cli.load(planted, network)
    done = cli("sensitivity", planted, "--network", network, "--images", "20")
    assert done.code == 1 and "subprocess:getoutput" in done.err and "--trust" in done.err
    assert cli("compile", planted, "-o", tmp_path / "net.ppr").code == 0  # needs the ONNX file alone
    assert not witness.exists()


@pytest.mark.parametrize("keys", [("data",), ("train", "loss"), ("train", "metric")])
def test_nor_in_place_of_data_loss_or_metric(cli: Cli, planted: Path, tmp_path: Path, keys: tuple[str, ...]) -> None:
    witness = tmp_path / "ran"
    plant(planted / "run.json", "options", *keys, value=f"subprocess:getoutput?cmd=touch {witness}")
    done = cli("sensitivity", planted, "--images", "20")
    assert done.code == 1 and "would import code" in done.err
    assert not witness.exists()


def test_code_that_is_trusted_is_imported(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trusted_module.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    plant(planted / "pruned.json", "model", value="trusted_module:network")
    with pytest.raises(InputError, match="would import code"):
        proprune_cli.load(planted)
    with pytest.raises(InputError, match="do not fit"):  # the channels of another network
        proprune_cli.load(planted, trust=True)
