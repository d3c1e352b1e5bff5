"""Progress on stderr: a bar or a line where a person watches, silence elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def counting(what: str, total: int) -> Generator[Callable[[], None], None, None]:
    """A counter for a loop of ``total`` turns: call what is yielded after each turn."""
    if not sys.stderr.isatty():
        yield lambda: None
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
    """A line that names the stage under way, wiped at the end."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield lambda name: print(f"\r\x1b[K{name} …", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
