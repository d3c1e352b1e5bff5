"""Writes, or with ``--check`` compares, every committed file that is derived from the contract.

Usage: ``python -m proprune_cli.accel.generate [--check]``. A new page joins by adding its function to ``GENERATORS``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from proprune_cli.accel import headers, hls_subset, resources_tally
from proprune_cli.errors import ExitCode, InputError, ProPruneError, UsageError
from proprune_cli.resources import resource_dir


def _root() -> Path:
    return resource_dir("hls").parent


def _headers() -> dict[str, str]:
    return {f"hls/generated/{name}": text for name, text in headers.headers().items()}


def _resources() -> dict[str, str]:
    return {"docs/resources.md": resources_tally.page()}


GENERATORS: list[Callable[[], dict[str, str]]] = [_headers, _resources]
"""Each returns path below the repository's root → text."""


def outputs() -> dict[str, str]:
    """All generated files: path → text.

    Raises:
        DoesNotFitError: an array does not fit its part.
    """
    files: dict[str, str] = {}
    for generator in GENERATORS:
        files.update(generator())
    return files


def write(root: Path) -> list[str]:
    """Write what differs; returns the paths written."""
    changed: list[str] = []
    for name, text in outputs().items():
        path = root / name
        data = text.encode()
        if path.is_file() and path.read_bytes() == data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        changed.append(name)
    return changed


def check(root: Path) -> None:
    """Compare byte for byte, and check that the engine's sources keep to the HLS subset.

    Raises:
        InputError: a file is missing or differs, or a source leaves the subset.
    """
    stale = [
        name
        for name, text in outputs().items()
        if not (root / name).is_file() or (root / name).read_bytes() != text.encode()
    ]
    if stale:
        raise InputError(
            f"generated files are out of date: {', '.join(stale)}",
            where=str(root),
            remedy="run `python -m proprune_cli.accel.generate` and commit the result",
        )
    faults = hls_subset.check_tree(root / "hls")
    if faults:
        raise InputError(
            f"{len(faults)} constructs that an HLS compiler cannot take:\n  " + "\n  ".join(str(f) for f in faults),
            where=str(root / "hls" / "src"),
            remedy="see hls/README.md for the subset",
        )


def main(arguments: list[str]) -> int:
    """Entry point; returns the exit code."""
    try:
        if arguments == ["--check"]:
            check(_root())
        elif not arguments:
            for name in write(_root()):
                print(f"wrote {name}")
        else:
            raise UsageError(
                f"unexpected arguments: {' '.join(arguments)}",
                remedy="usage: python -m proprune_cli.accel.generate [--check]",
            )
    except ProPruneError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
