"""The knapsack itself: which structures to keep, solved by HiGHS through SciPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_matrix

from proprune_cli.errors import BudgetError
from proprune_cli.prune.knapsack.structures import Bools, Floats, Ints

CORE = 1000
"""Structures at most that the integer program is about; the others are decided by their reduced costs."""
GAP = 1e-5
"""Relative gap at which the integer program counts as solved."""
_NODES = 500
"""Branch-and-bound nodes; a limit in seconds would make results depend on the machine's load."""
_CUTS = 200


@dataclass(frozen=True)
class Solution:
    """Which structures stay.

    Attributes:
        keep: bool [structures].
        value: sum of their values. bound: no choice within the budget is worth more.
    """

    keep: Bools
    value: float
    bound: float

    @property
    def gap(self) -> float:
        """Share of the bound that may be lost at most; a proof, not an estimate."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def over(needed: Floats, limits: Floats) -> Bools:
    """Where what is needed exceeds the limit, bool [resources]."""
    return needed > limits * (1 + 1e-9)


def solve(values: Floats, costs: Floats, limits: Floats, forced: Bools) -> Solution:
    """Maximise Σ vᵢxᵢ with Σ cᵢxᵢ ≤ limit for every resource, xᵢ in {0, 1} (Ramhorst et al. 2023, multi-dimensional
    knapsack).

    The Lagrangian dual gives one price per resource and an upper bound; what is clearly worth its price stays, what
    clearly is not goes, and the integer program of HiGHS decides the core between (Pisinger 1999, "Core problems in
    knapsack algorithms"). The gap to the bound is part of the answer.

    Args:
        values: float64 [n], none negative. costs: float64 [n, resources]. limits: float64 [resources].
        forced: bool [n], structures that stay.

    Raises:
        BudgetError: the forced structures alone are over a limit.
    """
    needed = costs[forced].sum(axis=0)
    if over(needed, limits).any():
        raise BudgetError(
            "what every layer must keep costs more than the budget allows",
            where="--method knapsack",
            remedy="raise the budget, or lower --min-keep",
        )
    free = np.flatnonzero(~forced)
    room = limits - needed
    chosen, bound = _free(values[free], costs[free], room)
    keep = forced.copy()
    keep[free[chosen]] = True
    base = float(values[forced].sum())
    return Solution(keep, float(values[keep].sum()), base + bound)


def best_of_each_layer(values: Floats, layer_of: Ints, share: float) -> Bools:
    """The most valuable structures of each layer that make up ``share`` of them, at least one."""
    forced = np.zeros(len(values), dtype=np.bool_)
    order = np.lexsort((-values, layer_of))
    starts = np.searchsorted(layer_of[order], np.unique(layer_of))
    sizes = np.diff([*starts, len(values)])
    for start, size in zip(starts, sizes, strict=True):
        forced[order[start : start + max(1, int(np.ceil(share * size)))]] = True
    return forced


def _free(values: Floats, costs: Floats, room: Floats) -> tuple[Ints, float]:
    """Chosen places, and an upper bound of their value."""
    if not len(values):
        return np.zeros(0, dtype=np.int64), 0.0
    scale = np.where(room > 0, room, 1.0)
    costs, limits = costs / scale, room / scale
    prices, bound = _prices(values, costs, limits)
    reduced = values - costs @ prices
    keep = _rounded(reduced, values, costs, limits)
    slack = bound - float(values[keep].sum())
    if slack <= GAP * bound:
        return np.flatnonzero(keep).astype(np.int64), bound
    # Whatever is further from its price than the slack has its place in every better choice.
    nearest = np.argsort(np.abs(reduced), kind="stable")[:CORE]
    core = nearest[np.abs(reduced[nearest]) <= slack]
    sure = reduced > 0
    sure[core] = False
    left = limits - costs[sure].sum(axis=0)
    if len(core) and (left >= 0).all():
        chosen = _integer(values[core], costs[core], left)
        if values[sure].sum() + values[core[chosen]].sum() > values[keep].sum():
            keep = sure
            keep[core[chosen]] = True
    return np.flatnonzero(keep).astype(np.int64), bound


def _prices(values: Floats, costs: Floats, limits: Floats) -> tuple[Floats, float]:
    """Prices λ ≥ 0 that minimise λ·limits + Σ max(0, vᵢ - λ·cᵢ), by Kelley's cutting planes, and that minimum."""
    count = costs.shape[1]
    best, best_value = np.zeros(count), float(values.sum())
    prices = best
    rows: list[Floats] = []
    rights: list[float] = []
    ceiling = float(values.sum()) / np.maximum(limits, 1e-9)
    for _ in range(_CUTS):
        taken = values - costs @ prices > 0
        # The minimum lies above every plane g(λ) + slope·(λ' - λ).
        slope = limits - costs[taken].sum(axis=0)
        value = float(prices @ limits + (values[taken] - costs[taken] @ prices).sum())
        if value < best_value:
            best, best_value = prices, value
        rows.append(np.append(slope, -1.0))
        rights.append(float(slope @ prices) - value)
        found: Any = linprog(
            np.append(np.zeros(count), 1.0),
            A_ub=np.array(rows),
            b_ub=np.array(rights),
            bounds=[*((0.0, float(c)) for c in ceiling), (0.0, None)],
            method="highs",
        )
        if found.status != 0 or best_value - float(found.fun) <= 1e-7 * best_value:
            break
        prices = np.asarray(found.x[:count])
    return best, best_value


def _rounded(reduced: Floats, values: Floats, costs: Floats, limits: Floats) -> Bools:
    """Structures in the order of how far they are above their price, while they fit."""
    order = np.argsort(-reduced, kind="stable")
    whole = (np.cumsum(costs[order], axis=0) <= limits + 1e-12).all(axis=1) & (values[order] > 0)
    first = len(order) if whole.all() else int(np.argmin(whole))
    keep = np.zeros(len(values), dtype=np.bool_)
    keep[order[:first]] = True
    left = limits - costs[order[:first]].sum(axis=0)
    for i in order[first:]:
        if values[i] > 0 and (costs[i] <= left).all():
            keep[i] = True
            left = left - costs[i]
    return keep


def _integer(values: Floats, costs: Floats, limits: Floats) -> Ints:
    found: Any = milp(
        -values,
        constraints=LinearConstraint(csr_matrix(costs.T), ub=limits),  # pyright: ignore[reportArgumentType]
        integrality=np.ones(len(values)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": GAP, "node_limit": _NODES},
    )
    if found.x is None:
        return np.zeros(0, dtype=np.int64)
    chosen = np.flatnonzero(np.asarray(found.x) > 0.5).astype(np.int64)
    return chosen if (costs[chosen].sum(axis=0) <= limits + 1e-9).all() else np.zeros(0, dtype=np.int64)
