"""Where a pruning run keeps its files, as seen from inside: `proprune_cli.rundir` provides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Stage(Protocol):
    """One step whose output appears whole or not at all."""

    @property
    def done(self) -> bool:
        """True when an earlier process committed it with the same key."""
        ...

    def read(self, name: str) -> bytes | None:
        """Content of a file of this stage, or None."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file beside its place, then rename it there."""
        ...

    def remove(self, name: str) -> None:
        """Drop a file that the finished stage does not need."""
        ...

    def commit(self) -> None:
        """Make the stage's files its final output."""
        ...


class Workspace(Protocol):
    """A run directory."""

    @property
    def path(self) -> Path:
        """The directory."""
        ...

    def stage(self, name: str, inputs: dict[str, Any]) -> Stage:
        """The stage ``name`` whose output is decided by ``inputs`` (JSON values)."""
        ...

    def record(self, name: str, value: Any) -> None:
        """Note a fact about the run; a run that is resumed must find the same value.

        Raises:
            InputError: the run was started with another value.
        """
        ...

    def publish(self, name: str, data: bytes) -> Path:
        """Write a file for others to use at the top of the directory."""
        ...

    def withdraw(self, name: str) -> None:
        """Remove what was published under ``name``, if anything was."""
        ...
