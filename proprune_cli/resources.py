"""Data directories (configs, hls, bitstreams) of a checkout or an installed wheel, and generated pages."""

from __future__ import annotations

import sys
from pathlib import Path

from proprune_cli.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """Directory ``name`` (``configs``, ``hls`` or ``bitstreams``): the checkout's, else the wheel's copy.

    Raises:
        InputError: the installation carries no such directory.
    """
    for candidate in (_PACKAGE.parent / name, _PACKAGE / "_data" / name):
        if candidate.is_dir():
            return candidate
    raise InputError(
        f"the installation has no {name!r} directory",
        where=str(_PACKAGE),
        remedy="reinstall proprune, or run it from a complete checkout",
    )


def keep_page(path: Path, text: str, command: str, arguments: list[str]) -> int:
    """Write a generated page; with ``--check`` among ``arguments`` only see whether it is current.

    Args:
        command: what to run where it is not.

    Returns:
        The exit code: 1 for a page that is out of date, else 0.
    """
    if "--check" not in arguments:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        print(f"{path} is out of date; run: {command}", file=sys.stderr)
        return 1
    return 0
