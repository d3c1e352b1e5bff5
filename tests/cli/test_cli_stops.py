"""Ctrl-C and SIGTERM in the midst of work: the exit code, the command that goes on, and nothing half written."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

COMMAND = [sys.executable, "-m", "proprune_cli"]
STOPS = ((signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"))
TRAIN = ("prune", "--model", "resnet8?width=0.5", "--data", "digits", "--epochs", "2", "--finetune-epochs", "0",
         "--multiple", "4", "--no-thin", "--no-engine", "--batch", "64", "--threads", "1")  # fmt: skip
OWN_LOSS = """
import os, signal
from pathlib import Path
import torch

calls = 0

def loss(outputs, labels):
    global calls
    calls += torch.is_grad_enabled()
    left = Path(__file__).parent / "signal"
    if calls == {call} and left.exists():
        number = int(left.read_text())
        left.unlink()
        os.kill(os.getpid(), number)
    return torch.nn.functional.cross_entropy(outputs, labels)
"""
"""A loss that sends its process a signal, once, in a step of training."""


def heard() -> None:
    """SIGINT as in a terminal: a job in the background of a shell ignores it, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def proprune(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=heard, cwd=cwd)


@pytest.mark.parametrize(("number", "code", "word"), STOPS)
def test_a_signal_in_mid_epoch_leaves_a_run_that_the_command_it_names_finishes(
    number: int, code: int, word: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1797 digits, four fifths of them to train with: some 20 steps of 64 in an epoch; call 30 is in the second.
    (tmp_path / "own_loss.py").write_text(OWN_LOSS.format(call=30))
    (tmp_path / "signal").write_text(str(int(number)))
    arguments = (*TRAIN, "--loss", "own_loss:loss", "--metric", "own_loss:loss", "--out", "a run")
    stopped = proprune(*arguments, cwd=tmp_path)
    assert stopped.returncode == code, stopped.stderr
    assert not (tmp_path / "signal").exists() and stopped.stdout == ""
    *told, last = stopped.stderr.splitlines()
    assert "epoch 1 of 2" in told[-1] and "Traceback" not in stopped.stderr
    assert last == f"{word}: resume with `{shlex.join(['proprune', *arguments])}`"
    run = tmp_path / "a run"
    # Whole files only: a record of the run, and a stage at work with the checkpoint of its first epoch and its cost.
    partial = run / "stages/dense.partial"
    assert {p.name for p in partial.iterdir()} == {"stage.json", "checkpoint.safetensors", "cost.json"}
    assert not [p for p in run.rglob("*") if p.suffix in (".tmp", ".part", ".onnx")]
    assert json.loads((run / "run.json").read_text())["command"] == "prune"

    if number == signal.SIGTERM:
        return  # and all that follows is the same
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_loss", raising=False)
    program, *named = shlex.split(last.partition("`")[2].removesuffix("`"))
    assert program == "proprune"
    resumed = cli(*named)
    assert resumed.code == 0, resumed.err
    assert "dense training, resumed at 50% …" in resumed.err
    assert cli(*arguments[:-1], "never stopped").code == 0
    for name in ("pruned.safetensors", "dense.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "never stopped" / name).read_bytes()


@pytest.mark.parametrize(("number", "code", "word"), STOPS)
def test_a_signal_at_any_moment_is_one_document_with_json(number: int, code: int, word: str, tmp_path: Path) -> None:
    """The moment is that of the run's directory: while the data are read or the network is traced."""
    command = [*COMMAND, *TRAIN, "--out", "run", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, preexec_fn=heard, cwd=tmp_path) as process:  # type: ignore[call-overload]
        while not (tmp_path / "run").exists() and process.poll() is None:
            time.sleep(0.02)
        # `timeout` and service managers send it twice.
        process.send_signal(number)
        process.send_signal(number)
        out, said = process.communicate()
    assert process.returncode == code and "Traceback" not in said
    resume = f"resume with `{shlex.join(['proprune', *TRAIN, '--out', 'run', '--json'])}`"
    found = {"kind": word.capitalize(), "exit_code": code, "what": word, "where": "", "remedy": resume}
    assert json.loads(out)["error"] == found
    assert said.splitlines()[-1] == f"{word}: {resume}"


def test_a_command_that_does_not_resume_says_no_more_than_that_it_was_stopped(tiny, tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from proprune_cli.files import write
def sync(directory):
    raise AssertionError("it was written")
fsync = os.fsync
def stop(descriptor):
    fsync(descriptor)
    os.kill(os.getpid(), signal.SIGTERM)
os.fsync = stop
sys.argv = ["proprune", "compile", {str(tiny.model)!r}, "--calibration", {str(tiny.images)!r}, "-o", "net.ppr"]
from proprune_cli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (143, "terminated")
    assert list(tmp_path.iterdir()) == []


def test_whoever_ignores_the_signals_goes_on(tmp_path: Path) -> None:
    """As `nohup` and shells do for jobs in the background."""
    code = """
import os, signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
import proprune_cli.flow.catalogue as catalogue
found = catalogue.catalogue
def stopping():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    return found()
catalogue.catalogue = stopping
from proprune_cli.cli.app import run_cli
assert run_cli(["boards"]) == 0
assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pynq-z2" in done.stdout
