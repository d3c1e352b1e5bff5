"""A run that borrows finished stages of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from proprune_cli.errors import InputError
from proprune_cli.rundir import RunDir

KEY = {"epochs": 3}


def _lender(path: Path) -> Path:
    with RunDir(path, "explore", {}) as run:
        stage = run.stage("dense", KEY)
        stage.write("weights", b"trained")
        stage.commit()
        run.stage("other", KEY).write("weights", b"half")  # never finished
    return path


def test_a_stage_with_the_same_inputs_is_copied_whole(tmp_path: Path) -> None:
    lender = _lender(tmp_path / "lender")
    with RunDir(tmp_path / "run", "prune", {}, lender=lender) as run:
        stage = run.stage("dense", KEY)
        assert stage.done and stage.read("weights") == b"trained"
    # It is the run's own from then on.
    with RunDir(tmp_path / "run", "prune", {}) as run:
        assert run.stage("dense", KEY).done


def test_other_inputs_and_unfinished_stages_are_not_borrowed(tmp_path: Path) -> None:
    lender = _lender(tmp_path / "lender")
    with RunDir(tmp_path / "run", "prune", {}, lender=lender) as run:
        assert not run.stage("dense", {"epochs": 4}).done
        assert not run.stage("other", KEY).done
        assert not run.stage("third", KEY).done


def test_what_an_unfinished_stage_has_of_its_own_gives_way(tmp_path: Path) -> None:
    lender = _lender(tmp_path / "lender")
    with RunDir(tmp_path / "run", "prune", {}) as run:
        run.stage("dense", KEY).write("checkpoint", b"epoch 1")
    with RunDir(tmp_path / "run", "prune", {}, lender=lender) as run:
        stage = run.stage("dense", KEY)
        assert stage.done and stage.read("checkpoint") is None and stage.read("weights") == b"trained"


def test_a_damaged_lender_and_a_link_are_not_copied(tmp_path: Path) -> None:
    lender = _lender(tmp_path / "lender")
    (lender / "stages/dense/weights").write_bytes(b"other")
    with RunDir(tmp_path / "run", "prune", {}, lender=lender) as run, pytest.raises(InputError, match="damaged"):
        run.stage("dense", KEY)
    (lender / "stages/dense").rename(tmp_path / "elsewhere")
    (lender / "stages/dense").symlink_to(tmp_path / "elsewhere")
    with RunDir(tmp_path / "second", "prune", {}, lender=lender) as run:
        assert not run.stage("dense", KEY).done
