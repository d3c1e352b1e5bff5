"""Every kind of bad input: its one-screen message (a golden file each) and its exit code."""

from __future__ import annotations

import re

import pytest

from tests.cli.error_cases import CASES


@pytest.mark.parametrize("name", sorted(CASES))
def test_bad_input_is_explained(name, cli, tiny, golden, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, make = CASES[name]
    done = cli(*make(tiny))
    shown = done.err.replace(str(tiny.model.parent) + "/", "")
    shown = re.sub(r"\b[0-9a-f]{16}\b", "<digest>", shown)
    shown = re.sub(r"\S*/(configs|bitstreams)/", r"<installation>/\1/", shown)
    shown = re.sub(r"of proprune [\w.+]+", "of proprune <version>", shown)
    shown = re.sub(r"\A([^\n]* …\n)+", "", shown)  # the stages that it came through
    assert len(shown.splitlines()) <= 24, "a message is one screen at most"
    assert shown.startswith("error: ")
    assert "Traceback" not in shown
    assert done.out == ""
    assert done.code == code
    golden(f"errors/{name}.txt", f"exit {done.code}\n{shown}")
