"""Leaving neurons alone that have stopped learning: the option ``--freeze``."""

from __future__ import annotations

from proprune_cli.errors import UsageError
from proprune_cli.spec.options import read_options
from proprune_cli.spec.parse import parse_spec
from proprune_cli.train.hooks import TrainHook
from proprune_cli.train.neq import Equilibrium, NeqOptions


def freezing_hooks(freeze: str) -> list[TrainHook]:
    """Hooks to put after all others, for ``neq?eps=1e-3&mu=0.5``; none for ``none``.

    Raises:
        UsageError: ``--freeze`` names nothing known, or an option of it is out of range.
    """
    spec = parse_spec(freeze, "--freeze")
    if spec.name == "none":
        return []
    if spec.name != "neq":
        raise UsageError(f"{spec.name!r} is not a choice", where="--freeze", remedy="choose neq or none")
    return [Equilibrium(read_options(spec, NeqOptions, "--freeze"))]
