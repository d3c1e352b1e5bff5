"""The one exception hierarchy. Each error says what was found, where, and what to do; each class has its exit code."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    USER = 1
    """The user can mend it."""
    USAGE = 2
    UNSUPPORTED = 3
    """Unsupported, or does not fit."""
    BOARD = 4
    """Board unreachable or mismatched."""
    GATE = 5
    """An accuracy, latency or energy gate was missed."""
    BUG = 70
    INTERRUPTED = 130
    """By SIGINT, which is Ctrl-C."""
    TERMINATED = 143
    """By SIGTERM."""


class ProPruneError(Exception):
    """Base of every error a user can meet.

    Args:
        what: what was found, one sentence without a full stop.
        where: the file, node, layer or option it was found in.
        remedy: what the user can do about it.
    """

    exit_code: ExitCode = ExitCode.USER

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [f"error: {self.what}"]
        if self.where:
            lines.append(f"where: {self.where}")
        if self.remedy:
            lines.append(f"hint: {self.remedy}")
        return "\n".join(lines)


class InputError(ProPruneError):
    """A file, option or data set that the user gave is wrong (exit 1)."""


class UsageError(ProPruneError):
    """The command line itself is wrong (exit 2)."""

    exit_code = ExitCode.USAGE


class UnsupportedError(ProPruneError):
    """The network asks for something proprune does not do (exit 3)."""

    exit_code = ExitCode.UNSUPPORTED


class DoesNotFitError(UnsupportedError):
    """The network needs more of a resource than there is (exit 3)."""


class BoardError(ProPruneError):
    """A board is unreachable, has another engine, or answered wrongly (exit 4)."""

    exit_code = ExitCode.BOARD


class GateError(ProPruneError):
    """A result misses a limit that the user set (exit 5)."""

    exit_code = ExitCode.GATE


class BudgetError(GateError):
    """A pruned network is over its budget, or no network that the options allow keeps to it (exit 5)."""
