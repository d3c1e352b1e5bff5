"""Manners of the command line: help, JSON, exit codes, quiet."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from proprune_cli.cli import docs
from proprune_cli.cli.app import app
from proprune_cli.compile.options import CompileOptions
from proprune_cli.pages import stale
from proprune_cli.prune import PruneOptions, TrainOptions
from proprune_cli.spec.declare import declared

COMMANDS = ("prune", "compile", "inspect", "run", "deploy", "bench", "boards", "demo")


def proprune(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proprune_cli.cli.app", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_help_lists_every_command(cli) -> None:
    shown = cli("--help")
    assert shown.code == 0
    assert all(f"\n  {name} " in shown.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_shows_an_example_and_json(cli, name: str) -> None:
    shown = cli(name, "--help")
    assert shown.code == 0
    assert "Example" in shown.out
    assert f"proprune {name}" in shown.out.split("Example")[1]
    assert "--json" in shown.out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from proprune_cli.cli.app import run_cli; assert run_cli(['--help']) == 0; "
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'torch', 'pydantic', 'rich', 'yaml', 'sklearn'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_is_quick() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert proprune("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)

    # Processor time, and the best of several runs: other processes on the machine must not decide this.
    assert min(once() for _ in range(5)) < 0.3


def test_the_pages_of_commands_and_run_files_are_current() -> None:
    assert stale({docs.PAGE: docs.page(), docs.RUN_FILES: docs.run_files()}) == []


def test_every_option_is_declared_once_and_no_flag_twice() -> None:
    for kinds in ((PruneOptions, TrainOptions), (CompileOptions,)):
        flags = [option.flag for kind in kinds for option in declared(kind) if option.flag]
        assert len(flags) == len(set(flags))
        for kind in kinds:
            names = {f.name for f in dataclasses.fields(kind)}
            assert names - {option.name for option in declared(kind)} <= {"train"}


def test_every_option_has_help() -> None:
    group = typer.main.get_command(app)
    silent = [
        f"{name} {parameter.name}"
        for name, command in group.commands.items()  # type: ignore[attr-defined]
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


def test_a_json_error_is_one_document_and_stderr_still_speaks(tmp_path: Path) -> None:
    done = proprune("inspect", "nothing.ppr", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "schema": "proprune.error/1",
        "error": {
            "kind": "InputError",
            "exit_code": 1,
            "what": "no such file",
            "where": "nothing.ppr",
            "remedy": "check the path",
        },
    }
    assert done.stderr == "error: no such file\nwhere: nothing.ppr\nhint: check the path\n"


def test_a_usage_error_is_a_document_too(cli) -> None:
    done = cli("inspect", "--json", "--nonsense")
    assert done.code == 2
    assert done.document["error"]["kind"] == "UsageError"


def test_an_unknown_option_is_named_with_the_way_to_the_help(cli) -> None:
    done = cli("prune", "--modle", "resnet8", "--out", "run")
    assert done.code == 2
    assert "--modle" in done.err
    assert "see `proprune prune --help`" in done.err


def test_no_command_shows_help_and_is_a_usage_error(cli) -> None:
    assert cli().code == 2


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(cli, option: str) -> None:
    shown = cli(option)
    assert shown.code == 0
    assert shown.out.startswith("proprune ")


@pytest.mark.parametrize(
    ("picture", "missing", "said"),
    [
        ("scan.txt", False, "the ending names no picture format"),
        ("nowhere/scan.svg", False, "the picture's directory does not exist"),
        ("scan.svg", True, "proprune[plot]"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_the_scan(
    cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, picture: str, missing: bool, said: str
) -> None:
    def scan(*_: object, **__: object) -> None:
        raise AssertionError("scanned first")

    monkeypatch.setattr("proprune_cli.flow.sensitivity.scan_run", scan)
    if missing:
        monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    done = cli("sensitivity", "run", "--plot", str(tmp_path / picture))
    assert said in done.err and "scanned first" not in done.err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("proprune_cli.artifact.load_artifact", fail)


def test_a_bug_is_called_one_and_hides_its_traceback(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("oops"))
    done = cli("inspect", "net.ppr")
    assert done.code == 70
    assert "this is a bug in proprune: ZeroDivisionError: oops" in done.err
    assert "Traceback" not in done.err
    assert "Traceback" in cli("--debug", "inspect", "net.ppr").err


def test_an_interrupt_ends_with_130(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    done = cli("inspect", "net.ppr", "--json")
    assert done.code == 130
    assert done.document["error"]["kind"] == "Interrupted"
    assert "Traceback" not in done.err


def test_running_out_of_memory_is_not_called_a_bug(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, MemoryError())
    done = cli("inspect", "net.ppr")
    assert done.code == 1
    assert "out of memory" in done.err


def test_a_terminal_without_unicode_is_no_error() -> None:
    done = proprune("boards", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert proprune("prune", "--help", env={**os.environ, "PYTHONIOENCODING": "ascii"}).returncode == 0


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m proprune_cli.cli.app --help | head -1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
