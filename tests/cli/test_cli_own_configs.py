"""Boards and arrays of users: found by name, compiled for, run on the engine's C++, refused where they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from proprune_cli.accel.array import load_array
from proprune_cli.resources import resource_dir
from tests.cli.conftest import Cli, Files


def declare(folder: Path, kind: str, name: str, source: str, **changes: Any) -> Path:
    """A file of ours under another name, with other values."""
    raw = yaml.safe_load((resource_dir("configs") / kind / f"{source}.yaml").read_text())
    path = folder / kind / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**raw, **changes}))
    return path


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROPRUNE_CONFIGS", str(tmp_path / "none") + ":" + str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_an_array_of_ones_own_runs_on_a_board_of_ones_own(cli: Cli, tiny: Files, configs: Path, tmp_path: Path) -> None:
    declare(configs, "arrays", "small", "z7020-256", ic=8, acc_depth=256, bank_depth=4096)
    declare(configs, "boards", "desk", "pynq-z2", title="A board on the desk", arrays=["small"])
    network = tmp_path / "net.ppr"
    done = cli("compile", tiny.model, "--calibration", tiny.images, "--board", "desk", "-o", network)
    assert done.code == 0, done.err
    assert load_array("small").digest not in (load_array("z7020-256").digest, load_array("z7020-384").digest)
    for board in ("emulated:desk", "interpreter"):
        report = cli("deploy", network, "--board", board, "--json").document
        assert report["array"] == "small" and report["bytes_different"] == 0
    assert cli("bench", network, "--board", "emulated:desk", "--json").code == 0
    listed = {(row["board"], row["array"]): row for row in cli("boards", "--json").document["boards"]}
    # Boards that carry the same part take the array too.
    assert listed["desk", "small"]["bitstream"] == listed["pynq-z2", "small"]["bitstream"] == "not built"
    assert ("zcu104", "small") not in listed


def test_without_its_file_the_artifact_is_refused(cli: Cli, tiny: Files, configs: Path, tmp_path: Path) -> None:
    path = declare(configs, "arrays", "small", "z7020-256", ic=8)
    network = tmp_path / "net.ppr"
    assert cli("compile", tiny.model, "--calibration", tiny.images, "--array", "small", "-o", network).code == 0
    path.unlink()
    done = cli("deploy", network, "--board", "interpreter")
    assert done.code == 4 and "'small', which is not known here" in done.err


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ic": 12}, "ic must be 8, 16, 24 or 32"),
        ({"oc": 24}, "no more than ic"),
        ({"px": 4}, "px must be 2"),
        ({"bank_depth": 5000}, "bank_depth must be a power of two"),
        ({"acc_depth": "many"}, "acc_depth is 'many', not a whole number"),
        ({"min_beats": True}, "min_beats is True"),
        ({"dsp": "dsp58"}, "dsp must be dsp48e1 or dsp48e2"),
        ({"clock_mhz": 0}, "clock_mhz must be a number above 0"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_an_array_that_no_engine_can_be_built_for_is_refused(
    cli: Cli, tiny: Files, configs: Path, changes: dict[str, Any], what: str
) -> None:
    path = declare(configs, "arrays", "odd", "z7020-256", **changes)
    done = cli("compile", tiny.model, "--calibration", tiny.images, "--array", "odd", "-o", configs / "net.ppr")
    assert done.code == 1 and what in done.err and str(path) in done.err


def test_a_file_may_not_take_the_name_of_another(cli: Cli, configs: Path) -> None:
    declare(configs, "boards", "pynq-z2", "pynq-z2")
    done = cli("boards")
    assert done.code == 1 and "'pynq-z2' is declared in" in done.err and "another name" in done.err
