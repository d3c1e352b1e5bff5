"""Meeting a budget with the compiled network, where the choice of channels can only count layer shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from proprune_cli.prune.options import WHOLE, Budget

Found = TypeVar("Found")

TRIES = 5
FULL = 0.97
"""Share of the limit from which on it counts as used."""
_MARGIN = 0.995
_NOTHING = 1e-9
"""A share that no network keeps to: pruning gives the smallest that is allowed."""


@dataclass(frozen=True)
class Tried(Generic[Found]):
    """A pruned network, the budget that gave it, and what it costs once compiled."""

    network: Found
    budget: Budget
    figure: float


def within(
    limit: float, budget: Budget, prune: Callable[[Budget], Found], compiled: Callable[[Found], float]
) -> Tried[Found]:
    """The largest of a few pruned networks that keep to ``limit`` once compiled; the smallest where none does.

    The budget, a share of what layer shapes cost, is scaled by what the compiled network costs too much or too little.

    Args:
        prune: gives the smallest allowed network where none keeps to the budget.
    """

    def attempt(budget: Budget) -> Tried[Found]:
        found = prune(budget)
        return Tried(found, budget, compiled(found))

    tried: list[Tried[Found]] = []
    for _ in range(TRIES):
        tried.append(attempt(budget))
        figure = tried[-1].figure
        if FULL * limit <= figure <= limit:
            break
        value = min(budget.value * limit / figure * (_MARGIN if figure > limit else 1.0), WHOLE)
        if any(abs(value / other.budget.value - 1) < 1e-3 for other in tried):
            break
        budget = replace(budget, value=value)
    if all(t.figure > limit for t in tried):
        tried.append(attempt(replace(budget, value=_NOTHING)))
    good = [t for t in tried if t.figure <= limit]
    return max(good, key=lambda t: t.figure) if good else min(tried, key=lambda t: t.figure)
