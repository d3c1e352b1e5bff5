"""Pruning methods. A new one: one file here and one line in `METHODS`."""

from __future__ import annotations

from proprune_cli.errors import InputError
from proprune_cli.prune.methods.base import Context, Importance
from proprune_cli.prune.methods.bn import bn
from proprune_cli.prune.methods.l1 import l1
from proprune_cli.prune.methods.l2 import l2
from proprune_cli.prune.methods.random import random

__all__ = ["METHODS", "Context", "Importance", "method_named"]

METHODS: dict[str, Importance] = {
    "l1": l1,
    "l2": l2,
    "bn": bn,
    "random": random,
}


def method_named(name: str) -> Importance:
    """The method called ``name``.

    Raises:
        InputError: there is none.
    """
    if name not in METHODS:
        raise InputError(
            f"there is no pruning method {name!r}",
            where="--method",
            remedy="choose one of " + ", ".join(METHODS),
        )
    return METHODS[name]
