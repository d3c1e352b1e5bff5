"""Meeting a budget with the compiled network, where the choice of channels can only count layer shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from proprune_cli.modules.copying import copied
from proprune_cli.prune.options import Budget

Found = TypeVar("Found")

TRIES = 5
FULL = 0.97
"""Share of the limit from which on it counts as used."""
_MARGIN = 0.995


def within(
    limit: float, budget: Budget, prune: Callable[[Budget], Found], compiled: Callable[[Found], float]
) -> tuple[Found, Budget]:
    """The largest of a few pruned networks that keep to ``limit`` once compiled; the smallest where none does.

    The budget, a share of what layer shapes cost, is scaled by what the compiled network costs too much or too little.

    Returns:
        The network, and the budget that gave it.
    """
    tried: list[tuple[Found, Budget, float]] = []
    for _ in range(TRIES):
        found = prune(budget)
        figure = compiled(found)
        tried.append((found, budget, figure))
        if FULL * limit <= figure <= limit:
            break
        value = min(budget.value * limit / figure * (_MARGIN if figure > limit else 1.0), 1 - 1e-9)
        if any(abs(value / other.value - 1) < 1e-3 for _, other, _ in tried):
            break
        budget = replace(budget, value=value)
    good = [t for t in tried if t[2] <= limit]
    return (max(good, key=lambda t: t[2]) if good else min(tried, key=lambda t: t[2]))[:2]


def without_zeros(model: nn.Module) -> nn.Module:
    """A copy with no weight of zero, which would cost nothing: norms often begin with a scale of 0."""
    model = copied(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.masked_fill_(parameter == 0, 1e-2)
    return model
