"""Faces of packages: names that a package offers, each imported when it is first asked for.

So that `proprune_cli.train.options` can be imported without torch, which what `proprune_cli.train` offers needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def face(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of ``package`` (PEP 562).

    Args:
        names: module below the package by the names that it offers, several apart by spaces.
    """
    home = {name: f"{package}.{module}" for module, offered in names.items() for name in offered.split()}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home[name]), name)

    return get
