"""Data directories (configs, hls, bitstreams) of a checkout or an installed wheel."""

from __future__ import annotations

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
