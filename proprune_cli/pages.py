"""Files that are made from code and committed: pages of ``docs``, headers of the engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Of the checkout."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def stale(files: Mapping[str, str], root: Path | None = None) -> list[str]:
    """Which of ``files`` (path below ``root``, the checkout's, → text) are missing or differ, byte for byte."""
    root = root or ROOT
    return [
        name
        for name, text in files.items()
        if not (root / name).is_file() or (root / name).read_bytes() != text.encode()
    ]


def write(files: Mapping[str, str], root: Path | None = None) -> list[str]:
    """Write those of ``files`` that are `stale`; their names."""
    changed = stale(files, root)
    for name in changed:
        path = (root or ROOT) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name].encode())
    return changed


def main(module: str, files: Mapping[str, str], arguments: list[str] | None = None) -> int:
    """Entry point of ``python -m module``: writes ``files``, or with ``--check`` says which are out of date.

    Returns:
        The exit code: 1 where one is out of date and was to be checked alone, else 0.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    if not parser.parse_args(arguments).check:
        for name in write(files):
            print(f"wrote {name}")
        return 0
    old = stale(files)
    for name in old:
        print(f"{name} is out of date; run: python -m {module}", file=sys.stderr)
    return 1 if old else 0
