"""Output that cannot be written, streams that are closed, and Ctrl-C at any moment: one message, one code."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proprune_cli.cli import app
from proprune_cli.errors import InputError

COMMAND = [sys.executable, "-m", "proprune_cli"]


def heard() -> None:
    """SIGINT as in a terminal: a job in the background of a shell ignores it, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def shell(line: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize("arguments", ["boards", "boards --json", "--help", "--version"])
def test_a_full_disk_behind_stdout_is_no_bug(arguments: str) -> None:
    done = shell(f"{' '.join(COMMAND)} {arguments} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output cannot be written: no space left on device\n")
    assert len(done.stderr.splitlines()) == 3


def test_the_first_error_is_told_where_the_json_of_it_cannot_be_written() -> None:
    done = shell(f"{' '.join(COMMAND)} inspect nothing.ppr --json >/dev/full")
    assert done.returncode == 1 and done.stderr.startswith("error: no such file\n")
    assert "output" not in done.stderr


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_closed_streams_change_no_exit_code(closing: str, tmp_path: Path) -> None:
    assert shell(f"{' '.join(COMMAND)} boards {closing}").returncode == 0
    assert shell(f"{' '.join(COMMAND)} inspect {tmp_path}/nothing.ppr {closing}").returncode == 1


@pytest.mark.parametrize("moment", ["proprune_cli.cli.app", "typer", "numpy", "onnx"])
def test_ctrl_c_while_something_is_imported(moment: str) -> None:
    """A signal arrives in the import of ``moment``, which turns it into an error of its own."""
    code = f"""
import importlib.abc, os, signal, sys
class Late(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {moment!r}:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                import time; time.sleep(5)
            except KeyboardInterrupt as error:
                raise ImportError("numpy cannot be imported, try to install it again") from error
sys.meta_path.insert(0, Late())
sys.argv = ["proprune", "inspect", "nothing.ppr"]
from proprune_cli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, preexec_fn=heard)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(("raised", "code"), [(EOFError("no data left"), 70), (KeyboardInterrupt(), 130)])
def test_the_end_of_a_file_is_no_interruption(
    raised: BaseException, code: int, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option parser takes both for the same; only one of them is Ctrl-C."""

    def command() -> None:
        raise raised

    import typer

    broken = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    broken.command("one")(command)
    broken.command("two")(lambda: None)
    monkeypatch.setattr(app, "app", broken)
    assert cli("one").code == code


def test_an_error_of_the_family_stays_itself_after_ctrl_c(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    before = signal.getsignal(signal.SIGINT)
    heard()

    def command() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise InputError("what was found before") from None

    broken = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    broken.command("one")(command)
    broken.command("two")(lambda: None)
    monkeypatch.setattr(app, "app", broken)
    try:
        assert cli("one").code == 1
    finally:
        signal.signal(signal.SIGINT, before)
