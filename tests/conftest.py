"""Fixtures for every test: golden files."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files instead of comparing them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with ``tests/golden/<name>``: ``golden("errors/cut.txt", text)``."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        command = f"pytest --update-golden '{request.node.nodeid}'"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.is_file():
            pytest.fail(
                f"there is no golden file {path}; look at this text and, if it is right, run: {command}\n\n{text}"
            )
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            difference = "".join(
                difflib.unified_diff(expected.splitlines(True), text.splitlines(True), "golden", "now")
            )
            pytest.fail(f"{path} differs; if the new text is right, run: {command}\n\n{difference}")

    return compare
