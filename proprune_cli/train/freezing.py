"""Leaving neurons alone while the others learn: the option ``--freeze``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proprune_cli.errors import UsageError
from proprune_cli.spec.options import read_options
from proprune_cli.spec.parse import parse_spec
from proprune_cli.train.hooks import TrainHook
from proprune_cli.train.neq import Equilibrium, NeqOptions
from proprune_cli.train.stochastic import Stochastic, StochasticOptions

CRITERIA: dict[str, tuple[type[Any], Callable[[Any], TrainHook]]] = {
    "neq": (NeqOptions, Equilibrium),
    "stochastic": (StochasticOptions, Stochastic),
}
"""Options and hook by name."""


def freezing_hooks(freeze: str) -> list[TrainHook]:
    """Hooks to put after all others, for ``neq?eps=1e-3&mu=0.5`` or ``stochastic?p=0.2``; none for ``none``.

    Raises:
        UsageError: ``--freeze`` names nothing known, or an option of it is out of range.
    """
    spec = parse_spec(freeze, "--freeze")
    if spec.name == "none":
        return []
    if spec.name not in CRITERIA:
        remedy = f"choose {', '.join(CRITERIA)} or none"
        raise UsageError(f"{spec.name!r} is not a choice", where="--freeze", remedy=remedy)
    options, hook = CRITERIA[spec.name]
    return [hook(read_options(spec, options, "--freeze"))]
