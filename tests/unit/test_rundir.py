"""Run directories: whole or not at all, one process at a time, never of two minds."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from proprune_cli.errors import InputError, UsageError
from proprune_cli.rundir import RunDir


def opened(path: Path, force: bool = False, **options: object) -> RunDir:
    return RunDir(path, "prune", options, force=force)


def test_a_committed_stage_is_found_again_and_an_unfinished_one_keeps_its_files(tmp_path: Path) -> None:
    with opened(tmp_path / "run", a=1) as run:
        stage = run.stage("train", {"epochs": 2})
        assert not stage.done
        stage.write("checkpoint", b"half")
    with opened(tmp_path / "run", a=1) as run:
        stage = run.stage("train", {"epochs": 2})
        assert stage.read("checkpoint") == b"half"
        stage.write("weights", b"whole")
        stage.remove("checkpoint")
        stage.commit()
    with opened(tmp_path / "run", a=1) as run:
        stage = run.stage("train", {"epochs": 2})
        assert stage.done
        assert (stage.read("weights"), stage.read("checkpoint")) == (b"whole", None)


def test_an_unfinished_stage_of_other_inputs_starts_afresh(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        run.stage("train", {"epochs": 2}).write("checkpoint", b"old")
        assert run.stage("train", {"epochs": 3}).read("checkpoint") is None


def test_other_options_are_refused_and_named_and_force_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path, method="l1", seed=0) as run:
        stage = run.stage("train", {"epochs": 1})
        stage.commit()
    with pytest.raises(InputError, match="method") as caught, opened(tmp_path, method="l2", seed=0):
        pass
    assert "seed" not in caught.value.what
    with opened(tmp_path, force=True, method="l2", seed=0) as run:
        assert run.stage("train", {"epochs": 1}).done
        assert not run.stage("train", {"epochs": 9}).done
    assert json.loads((tmp_path / "run.json").read_text())["options"]["method"] == "l2"


def test_changed_inputs_of_a_finished_stage_and_changed_facts_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        run.stage("train", {"data": "x"}).commit()
        run.record("data", {"sha256": "x"})
    with opened(tmp_path) as run:
        with pytest.raises(InputError, match="'train' was made from has changed"):
            run.stage("train", {"data": "y"})
        with pytest.raises(InputError, match="data has changed"):
            run.record("data", {"sha256": "y"})


def test_a_damaged_file_of_a_finished_stage_is_found(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        stage = run.stage("train", {})
        stage.write("weights", b"12345")
        stage.commit()
    (tmp_path / "stages/train/weights").write_bytes(b"12340")
    with opened(tmp_path) as run, pytest.raises(InputError, match="missing or damaged"):
        run.stage("train", {})


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()}"), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass  # the lock went with its holder


def test_a_directory_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="no run"), opened(tmp_path, force=True):
        pass
    with pytest.raises(InputError, match="this is a file"), opened(tmp_path / "thesis.txt"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}', '{"version": 1, "command": "prune"}'])
def test_a_damaged_or_foreign_run_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json"), opened(tmp_path):
        pass


@pytest.mark.parametrize(
    ("code", "what"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "no permission"), (errno.EIO, "cannot be written")]
)
def test_what_the_system_refuses_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, what: str
) -> None:
    with opened(tmp_path) as run:
        run.publish("results.json", b"old")

        def refuse(descriptor: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(InputError, match=what) as caught:
            run.publish("results.json", b"new")
        assert caught.value.remedy
    assert (tmp_path / "results.json").read_bytes() == b"old"


def test_a_path_below_a_file_cannot_be_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError), opened(tmp_path / "file" / "run"):
        pass


def test_a_command_that_was_refused_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError), RunDir(tmp_path / "new", "prune", {}) as run:
        run.publish("source.onnx", b"kept before it was looked at")
        run.stage("asked", {}).commit()
        raise UsageError("refused")
    assert not (tmp_path / "new").exists()
    # What was there, or has begun, stays.
    (tmp_path / "old").mkdir()
    with pytest.raises(UsageError), RunDir(tmp_path / "old", "prune", {}):
        raise UsageError("refused")
    assert [p.name for p in (tmp_path / "old").iterdir()] == [".lock"]
    with pytest.raises(UsageError), RunDir(tmp_path / "begun", "prune", {}) as run:
        run.stage("dense", {}).write("a", b"")
        raise UsageError("refused")
    with pytest.raises(KeyboardInterrupt), RunDir(tmp_path / "stopped", "prune", {}):
        raise KeyboardInterrupt
    assert (tmp_path / "begun/run.json").is_file() and (tmp_path / "stopped/run.json").is_file()
