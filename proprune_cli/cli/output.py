"""Where output goes: data on stdout, everything else on stderr; one versioned JSON document with ``--json``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer

from proprune_cli.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="Print one versioned JSON document, alone on stdout.")]

VERSION = 1
"""Version of every JSON document; raised when a field changes its meaning or goes."""


def emit_json(kind: str, body: Mapping[str, Any]) -> None:
    """Print the document ``{"schema": "proprune.<kind>/<version>", …}``."""
    document = {"schema": f"proprune.{kind}/{VERSION}", **body}
    say(json.dumps(document, indent=1, allow_nan=False))


def say(text: str = "") -> None:
    """A line of data, on stdout.

    Raises:
        StdoutError: it cannot be written.
    """
    with _stdout_errors():
        print(text)


def flush() -> None:
    """Write what was said so far.

    Raises:
        StdoutError: it cannot be written.
    """
    with _stdout_errors():
        sys.stdout.flush()


class StdoutError(InputError):
    """Standard output takes nothing more (exit 1)."""


@contextmanager
def _stdout_errors() -> Generator[None, None, None]:
    try:
        yield
    except BrokenPipeError:  # whoever reads had enough, which is no fault
        raise
    except OSError as error:
        raise stdout_error(error) from error


def stdout_error(error: OSError) -> StdoutError:
    """What the system said when standard output was written to, for the user."""
    reason = (error.strerror or str(error)).lower()
    return StdoutError(
        f"the output cannot be written: {reason}",
        where="standard output",
        remedy="make room, or send it somewhere else",
    )


def note(text: str) -> None:
    """A line about what is going on, on stderr; nobody need be there to read it."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """A line about something that is probably not meant, on stderr, whoever watches."""
    note(f"warning: {text}")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print aligned columns that no terminal width cuts; numbers to the right.

    Args:
        columns: the headings. rows: cells, already formatted where the format matters; None prints as "-".
    """
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in (list(columns), *cells)) for i in range(len(columns))]
    right = [
        bool(rows) and all(cell is None or _is_number(str(cell)) for cell in (row[i] for row in rows))
        for i in range(len(columns))
    ]

    def line(values: Sequence[str]) -> str:
        return "  ".join(
            v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)
        ).rstrip()

    if title:
        say(_bold(title))
    say(_bold(line(columns)))
    say("  ".join("-" * w for w in widths))
    for row in cells:
        say(line(row))


def size(count: int) -> str:
    """Bytes for a person: 1536 → ``1.5 KiB``."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def _is_number(text: str) -> bool:
    """Whether it begins like a number, so that ``1,024``, ``3.1 ms`` and ``95 %`` line up on the right."""
    return text in ("-", "") or text.lstrip("+-")[:1].isdigit()


def _bold(text: str) -> str:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return f"\x1b[1m{text}\x1b[0m"
    return text
