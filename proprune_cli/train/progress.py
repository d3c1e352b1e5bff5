"""Progress of long steps: a bar on stderr where that is a terminal, otherwise silence."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol


class Progress(Protocol):
    """What the training loop tells about itself."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """A task of ``total`` steps begins, ``done`` of them already made."""
        ...

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """The task moved on."""
        ...

    def finish(self, summary: str = "") -> None:
        """The task is over."""
        ...

    def note(self, text: str) -> None:
        """Something the user should read."""
        ...


class SilentProgress:
    """Says nothing."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress`."""

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """See `Progress`."""

    def finish(self, summary: str = "") -> None:
        """See `Progress`."""

    def note(self, text: str) -> None:
        """See `Progress`."""


class TerminalProgress:
    """A rich progress bar on stderr. Use as a context manager, so that the cursor comes back."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task: int | None = None

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self._task = self._bar.add_task(task, total=total, completed=done, detail="")

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """See `Progress`."""
        if self._task is not None:
            fields = {"detail": detail} if detail else {}
            self._bar.update(self._task, advance=steps, **fields)  # pyright: ignore[reportArgumentType]

    def finish(self, summary: str = "") -> None:
        """See `Progress`."""
        if self._task is not None:
            self._bar.remove_task(self._task)  # pyright: ignore[reportArgumentType]
            self._task = None
        if summary:
            self.note(summary)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._bar.console.print(text, highlight=False, markup=False)
