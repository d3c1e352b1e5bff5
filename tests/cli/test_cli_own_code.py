"""The page on users' own code runs as it stands: module, pruning, compiling, running."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your-own.md"


def test_the_page_runs_from_the_module_to_the_emulated_board(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    Path("squares.py").write_text(module, encoding="utf-8")
    for line in commands.strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "proprune"
        done = cli(*arguments)
        assert done.code == 0, done.err
        if arguments[0] == "prune":
            assert "100 times the mean of found" in done.out
    with np.load("found.npz") as outputs:
        assert {name: array.shape[1:] for name, array in outputs.items()} == {"corner": (2,), "present": (1,)}
    again = cli(*shlex.split(commands.splitlines()[0])[1:])
    assert again.code == 0, again.err
    # A loss of another text is another run.
    monkeypatch.delitem(sys.modules, "squares")
    Path("squares.py").write_text(module.replace("return corner +", "return 2 * corner +"), encoding="utf-8")
    changed = cli(*shlex.split(commands.splitlines()[0])[1:])
    assert changed.code == 1
    assert "loss has changed since this run was started" in changed.err
