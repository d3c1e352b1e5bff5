"""Data directories (configs, hls, bitstreams) of a checkout or an installed wheel, and configs that users bring."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

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


Kind = Literal["arrays", "boards"]


def config_files(kind: Kind, *, own: bool = True) -> dict[str, Path]:
    """Files that declare arrays or boards, by the name that each declares (its own without ``.yaml``), sorted.

    Users' files lie in a folder ``arrays`` or ``boards`` of a directory that ``PROPRUNE_CONFIGS`` lists (several apart
    by ``:``), or of ``$XDG_CONFIG_HOME/proprune`` (``~/.config/proprune``) where that is not set.

    Args:
        own: users' files too; else the installation's alone.

    Raises:
        InputError: a user's file has the name of another.
    """
    found = {path.stem: path for path in sorted((resource_dir("configs") / kind).glob("*.yaml"))}
    for folder in _own_configs() if own else ():
        for path in sorted((folder / kind).glob("*.yaml")):
            if path.stem in found:
                raise InputError(
                    f"{path.stem!r} is declared in {found[path.stem]} already",
                    where=str(path),
                    remedy="give the file another name",
                )
            found[path.stem] = path
    return dict(sorted(found.items()))


def _own_configs() -> list[Path]:
    if listed := os.environ.get("PROPRUNE_CONFIGS"):
        return [Path(folder) for folder in listed.split(os.pathsep) if folder]
    base = os.environ.get("XDG_CONFIG_HOME")
    return [(Path(base) if base else Path.home() / ".config") / "proprune"]
