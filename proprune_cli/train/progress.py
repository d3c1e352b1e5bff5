"""Progress of long steps, on stderr: a bar for whoever watches a terminal, lines for a pipe or a log file."""

from __future__ import annotations

import contextlib
import sys
import time
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


class LineProgress:
    """Whole lines on stderr, each written as it happens: one where a task begins and one for each new detail, which
    training gives for every epoch; where neither comes, one a minute.

    Nobody need be there to read them: a closed pipe or a full disk ends the lines and not the work.
    """

    EVERY = 60.0
    """Seconds after which a task that says nothing of itself is said to go on."""

    def __init__(self) -> None:
        self._task, self._detail = "", ""
        self._total = self._done = 0
        self._told = 0.0

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self._task, self._detail, self._total, self._done = task, "", total, done
        self._line(f"{task} …" if not done else f"{task}, resumed at {done / total:.0%} …")

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """See `Progress`."""
        self._done += steps
        if detail and detail != self._detail:
            self._detail = detail
            self._line(f"{self._task}: {detail}")
        elif time.monotonic() - self._told > self.EVERY:
            self._line(f"{self._task}: {self._done} of {self._total}")

    def finish(self, summary: str = "") -> None:
        """See `Progress`."""
        if summary:
            self._line(summary)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._line(text)

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)
