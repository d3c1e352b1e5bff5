"""What options may be: refusals that name the option and the remedy."""

from __future__ import annotations

from typing import get_args

from proprune_cli.errors import UsageError


def require_choice(value: str, allowed: object, option: str) -> None:
    """See that ``value`` is one of the strings of the ``Literal`` ``allowed``.

    Raises:
        UsageError: it is something else.
    """
    names = get_args(allowed)
    if value not in names:
        raise UsageError(f"{value!r} is not a choice", where=option, remedy="choose one of " + ", ".join(names))


def require(condition: bool, what: str, option: str, remedy: str) -> None:
    """See that ``condition`` holds.

    Raises:
        UsageError: it does not; ``what`` says so.
    """
    if not condition:
        raise UsageError(what, where=option, remedy=remedy)
