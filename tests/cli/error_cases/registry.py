"""How a case of bad input is declared."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.conftest import Files

Arguments = list[str]
Case = Callable[[Files], Arguments]

CASES: dict[str, tuple[int, Case]] = {}


def case(code: int) -> Callable[[Case], Case]:
    """Register a case: it works in an empty current directory and returns the command line. ``code``: the exit code."""

    def register(make: Case) -> Case:
        CASES[make.__name__.replace("_", "-")] = (code, make)
        return make

    return register
