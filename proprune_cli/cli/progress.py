"""Progress on stderr: a bar or a line that changes where a person watches, whole lines in a pipe or a log file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proprune_cli.train.progress import Progress


def _watched() -> bool:
    """Whether stderr is a terminal that can take a line back."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress() -> Generator[Progress, None, None]:
    """What training tells about itself."""
    from proprune_cli.train.progress import LineProgress, TerminalProgress

    if not _watched():
        yield LineProgress()
        return
    with TerminalProgress() as bar:
        yield bar


@contextmanager
def counting(what: str, total: int) -> Generator[Callable[[], None], None, None]:
    """A counter for a loop of ``total`` turns: call what is yielded after each turn."""
    if not _watched():
        from proprune_cli.train.progress import LineProgress

        lines = LineProgress()
        lines.start(f"{total} {what}", total)
        yield lines.advance
        return
    done, shown = 0, 0.0

    def advance() -> None:
        nonlocal done, shown
        done += 1
        now = time.monotonic()
        if now - shown > 0.1:
            shown = now
            print(f"\r{what} {done}/{total} ", end="", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def stages() -> Generator[Callable[[str], None], None, None]:
    """A line that names the stage under way: wiped at the end where a person watches, else one line for each."""
    if not _watched():
        from proprune_cli.train.progress import LineProgress

        yield lambda name: LineProgress().note(f"{name} …")
        return
    try:
        yield lambda name: print(f"\r\x1b[K{name} …", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def counting_to(what: str) -> Generator[Callable[[int, int], None], None, None]:
    """Tells how many of how many are done: in place where a person watches, else a line for each tenth."""
    shown, tenth = 0.0, -1

    def told(done: int, total: int) -> None:
        nonlocal shown, tenth
        now, part = time.monotonic(), 10 * done // max(total, 1)
        if _watched():
            if now - shown > 0.1 or done == total:
                shown = now
                print(f"\r\x1b[K{what} {done}/{total} ", end="", file=sys.stderr, flush=True)
        elif part > tenth:
            tenth = part
            print(f"{what} {done}/{total}", file=sys.stderr, flush=True)

    try:
        yield told
    finally:
        if _watched():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
