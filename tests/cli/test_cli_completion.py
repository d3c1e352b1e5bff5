"""Shell completion: names from the registries, through the environment variable and through bash itself."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proprune_cli.board.registry import PLACES
from proprune_cli.cli import app
from proprune_cli.cli.completion import _NAMES, VARIABLE
from proprune_cli.data.load import SOURCES
from proprune_cli.nets.zoo import ZOO
from proprune_cli.prune.methods import METHODS

COMMAND = [sys.executable, "-m", "proprune_cli"]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``ask("prune --method s")``: what is offered for the last word, as a shell asks for it."""

    def words(line: str) -> list[str]:
        given = shlex.split(line) + ([""] if line.endswith(" ") else [])
        monkeypatch.setenv(VARIABLE, "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"proprune {line}")
        monkeypatch.setenv("COMP_CWORD", str(len(given)))
        capsys.readouterr()
        assert app.run_cli([]) == 0
        return capsys.readouterr().out.split()

    return words


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("prune --method ", sorted(METHODS)),
        ("prune --method s", [name for name in METHODS if name.startswith("s")]),
        ("prune --model ", sorted(ZOO)),
        ("prune --data ", sorted(SOURCES)),
        ("prune --budget m", ["mj=", "ms="]),
        ("prune --residual ", ["coupled", "free"]),
        ("prune --schedule t", ["training"]),
        ("prune --optimiser ", ["adamw", "sgd"]),
        ("compile run --network ", ["dense", "pruned", "thin"]),
        ("sensitivity run --residual f", ["free"]),
        ("run net.ppr --board ", sorted(name for place in PLACES for name in place.names)),
        ("bench run --network p", ["pruned"]),
        ("demo --data ", ["digits", "fashion-mnist"]),
        ("--show-completion ", ["bash", "fish", "powershell", "pwsh", "zsh"]),
        ("com", ["compile"]),
    ],
)
def test_names_come_from_their_registries(ask, line: str, offered: list[str]) -> None:
    assert sorted(ask(line)) == sorted(offered)


@pytest.mark.parametrize("command", ["prune", "compile"])
def test_boards_and_arrays_of_a_user_are_offered(
    ask, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("boards", "arrays"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "mine.yaml").touch()
    monkeypatch.setenv("PROPRUNE_CONFIGS", str(tmp_path))
    assert {"mine", "pynq-z2", "zcu104"} <= set(ask(f"{command} --board "))
    assert {"mine", "z7020-256"} <= set(ask(f"{command} --array "))


def test_a_registry_that_is_broken_offers_nothing_and_says_nothing(
    ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards/pynq-z2.yaml").touch()  # a second board of that name
    monkeypatch.setenv("PROPRUNE_CONFIGS", str(tmp_path))
    with pytest.raises(AssertionError):
        ask("compile --board ")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.mark.parametrize(
    "line", ["prune --method ", "prune --model ", "prune --data ", "run x --board ", "compile --network "]
)
def test_nothing_heavy_is_imported(line: str) -> None:
    """Every press of a key starts a process."""
    code = (
        "import sys\nfrom proprune_cli.cli.app import run_cli\nassert run_cli([]) == 0\n"
        "print(sorted({'onnx', 'onnxruntime', 'torch', 'sklearn', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    asked = {VARIABLE: "complete_bash", "COMP_WORDS": f"proprune {line}", "COMP_CWORD": str(len(line.split()) + 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **asked}
    )
    assert done.stdout.split() and done.stderr == "[]\n"


@pytest.fixture
def bash(tmp_path: Path, cli):
    """``bash("proprune run --board emulated:p")``: what bash would put in the place of the word before the cursor."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    (tmp_path / "proprune").write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    (tmp_path / "proprune").chmod(0o755)
    script = cli("--show-completion", "bash").out

    def complete(line: str) -> list[str]:
        code = (
            f"{script}\nCOMP_LINE={shlex.quote(line + ' --json')} COMP_POINT={len(line)}\n"
            "_proprune_completion proprune 2>/dev/null\nprintf '%s\\n' \"${COMPREPLY[@]}\""
        )
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "--norc", "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **path}
        )
        assert done.stderr == ""
        return done.stdout.split()

    return complete


@pytest.mark.parametrize(
    ("line", "put"),
    [
        ("proprune prune --method ser", ["serene"]),
        (
            "proprune run net.ppr --board emu",
            ["emulated:kv260", "emulated:pynq-z1", "emulated:pynq-z2", "emulated:zcu104"],
        ),
        # Of a word with a colon, bash replaces what follows the colon.
        ("proprune run net.ppr --board emulated:py", ["pynq-z1", "pynq-z2"]),
        ("proprune run net.ppr --board=emulated:z", ["zcu104"]),
        ("proprune run net.ppr --board=inter", ["interpreter"]),
        ("proprune prune --budget o", ["ops="]),
        ("proprune prune --budget ops=", []),
        ("proprune ben", ["bench"]),
        ("proprune compile --net", ["--network"]),
    ],
)
def test_bash_completes_the_word_before_the_cursor(bash, line: str, put: list[str]) -> None:
    assert bash(line) == put


def test_every_shell_gets_a_script(cli) -> None:
    for shell in _NAMES["shells"]():
        done = cli("--show-completion", shell)
        assert done.code == 0 and VARIABLE in done.out and "proprune" in done.out
    assert cli("--show-completion", "bash").out.startswith("_proprune_completion() {\n")


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_an_unknown_shell_is_refused(cli, option: str) -> None:
    done = cli(option, "tcsh")
    assert done.code == 2 and f"where: {option}" in done.err and "bash, zsh, fish" in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_installing_writes_into_the_users_home(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--install-completion", shell],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    path = Path(done.stdout.partition(":")[0])
    assert path.is_relative_to(tmp_path) and VARIABLE in path.read_text()
    if shell == "bash":
        assert str(path) in (tmp_path / ".bashrc").read_text()
        assert path.read_text().startswith("_proprune_completion() {\n")
