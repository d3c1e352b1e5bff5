"""Decides how many channels each group keeps, so that a budget is met with sizes the array likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from proprune_cli.channels.count import Sizes
from proprune_cli.errors import InputError
from proprune_cli.prune.options import WHOLE, Budget, Scope
from proprune_cli.prune.verdict import ROUNDED, UNUSED

_MAX_SWAPS = 24


@dataclass(frozen=True)
class Candidate:
    """A group that may shrink: its place in the size vector, and the importance of each channel."""

    position: int
    scores: npt.NDArray[np.float64]
    sizes: tuple[int, ...]
    """Sizes it may take, rising; the last is its own."""
    order: npt.NDArray[np.int64] | None = None
    """Its channels, the one that is kept longest first; None: by falling score."""

    @property
    def channels(self) -> int:
        """Channels it has."""
        return len(self.scores)

    def ranking(self) -> npt.NDArray[np.int64]:
        """Channels in the order they are kept: a group of size k keeps the first k."""
        return np.argsort(-self.scores, kind="stable") if self.order is None else self.order

    def nearest(self, wanted: float) -> int:
        """Allowed size closest to ``wanted``, the smaller of two equally close."""
        return min(self.sizes, key=lambda s: (abs(s - wanted), s))

    def step(self, size: int, by: int) -> int | None:
        """The next allowed size up (+1) or down (-1), None at the end."""
        index = self.sizes.index(size) + by
        return self.sizes[index] if 0 <= index < len(self.sizes) else None


def allowed_sizes(channels: int, multiple: int, min_keep: float) -> tuple[int, ...]:
    """Multiples of ``multiple`` from ``min_keep`` of the channels on, and all of them; never 0."""
    floor = max(1.0, min_keep * channels)
    return (*(s for s in range(multiple, channels, multiple) if s >= floor), channels)


def as_share(budget: Budget, dense: float, unit: str, where: str = "--budget") -> Budget:
    """An absolute budget as a share of the dense network's figure ``dense``; any other as it is.

    Raises:
        InputError: the dense network is within the budget.
    """
    if budget.absolute and budget.value >= dense:
        raise InputError(
            f"the dense network is predicted at {dense:.4g} {unit}, which is within the budget {budget}",
            where=where,
            remedy="compile it as it is, or give a smaller budget",
        )
    return budget.of(dense)


def smallest(candidates: Sequence[Candidate], full: Sizes) -> Sizes:
    """Channels of every group in the smallest network that the options allow."""
    sizes = full.copy()
    for c in candidates:
        sizes[c.position] = c.sizes[0]
    return sizes


def removed(candidates: Sequence[Candidate], sizes: Sizes) -> float:
    """Share of the candidates' channels that are gone at ``sizes``."""
    return 1 - sum(int(sizes[c.position]) for c in candidates) / sum(c.channels for c in candidates)


def normalised(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores over their mean, so that groups can be compared."""
    mean = float(scores.mean()) if len(scores) else 0.0
    return scores / mean if mean > 0 else scores


def allocate(
    candidates: Sequence[Candidate],
    full: Sizes,
    budget: Budget,
    scope: Scope,
    cost: Callable[[Sizes], float],
) -> Sizes:
    """Kept channels of every group; the smallest that are allowed where even those are over the budget.

    ``ratio`` gives each group the allowed size nearest to its share, while that falls short of the budget by no more
    than `ROUNDED`. Else, and for all other kinds, it is the largest network of one family (one share for all, or
    one importance threshold for all) whose ``cost`` stays within the budget, and then what rounding left over is used:
    single steps up, then exchanges of a step down for steps up elsewhere.

    Args:
        full: channels of every group of the network; groups without a candidate keep theirs.
        cost: figure of the network at given sizes; only its ratio to the dense figure counts.
    """
    if (1 - budget.value if budget.kind == "ratio" else budget.value) >= WHOLE:
        return full.copy()
    ranked = np.sort(np.concatenate([c.scores for c in candidates]))
    limit = budget.value * cost(full)
    if budget.kind == "ratio":
        if scope == "layer":
            sizes = _sizes(candidates, full, lambda c: c.channels * (1 - budget.value))
        else:
            threshold = ranked[min(len(ranked) - 1, round(budget.value * len(ranked)))]
            sizes = _sizes(candidates, full, lambda c: float(np.sum(c.scores >= threshold)))
        if removed(candidates, sizes) >= budget.value - ROUNDED:
            return sizes
        # Some groups are held by their floors: the others make up for them.
        cost, limit = (lambda sizes: 1 - removed(candidates, sizes)), 1 - budget.value
    least = smallest(candidates, full)
    if cost(least) > limit:
        return least
    sizes = _search(candidates, full, scope, ranked, cost, limit, least)
    sizes = _fill(candidates, sizes, scope, cost, limit)
    return _exchange(candidates, sizes, cost, limit, UNUSED * cost(full))


def _sizes(candidates: Sequence[Candidate], full: Sizes, wanted: Callable[[Candidate], float]) -> Sizes:
    sizes = full.copy()
    for c in candidates:
        sizes[c.position] = c.nearest(wanted(c))
    return sizes


def _search(
    candidates: Sequence[Candidate],
    full: Sizes,
    scope: Scope,
    ranked: npt.NDArray[np.float64],
    cost: Callable[[Sizes], float],
    limit: float,
    least: Sizes,
) -> Sizes:
    """Bisection over the family's one parameter, the share of channels removed."""
    best, low, high = least, 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if scope == "layer":
            sizes = _sizes(candidates, full, lambda c, m=middle: c.channels * (1 - m))
        else:
            threshold = ranked[min(len(ranked) - 1, int(middle * len(ranked)))]
            sizes = _sizes(candidates, full, lambda c, t=threshold: float(np.sum(c.scores >= t)))
        if cost(sizes) <= limit:
            best, high = sizes, middle
        else:
            low = middle
    return best


def _gain(c: Candidate, size: int, larger: int, scope: Scope) -> float:
    """How much a step up is worth: evenness for one share per layer, importance per channel for one threshold."""
    if scope == "layer":
        return 1 - size / c.channels
    return float(np.sort(c.scores)[::-1][size:larger].mean())


def _fill(
    candidates: Sequence[Candidate], sizes: Sizes, scope: Scope, cost: Callable[[Sizes], float], limit: float
) -> Sizes:
    """Steps up, the most valuable first, while the budget allows one."""
    while True:
        options: list[tuple[float, int, Sizes]] = []
        for c in candidates:
            size = int(sizes[c.position])
            larger = c.step(size, 1)
            if larger is not None:
                grown = sizes.copy()
                grown[c.position] = larger
                if cost(grown) <= limit:
                    options.append((_gain(c, size, larger, scope), -c.position, grown))
        if not options:
            return sizes
        sizes = max(options, key=lambda o: o[:2])[2]


def _exchange(
    candidates: Sequence[Candidate], sizes: Sizes, cost: Callable[[Sizes], float], limit: float, slack: float
) -> Sizes:
    """While more than ``slack`` is unused: one step down in one group for steps up in another, the best of all."""
    current = cost(sizes)
    for _ in range(_MAX_SWAPS):
        if limit - current <= slack:
            break
        best, best_cost = sizes, current
        for down in candidates:
            smaller = down.step(int(sizes[down.position]), -1)
            if smaller is None:
                continue
            for up in candidates:
                trial = sizes.copy()
                trial[down.position] = smaller
                larger = up.step(int(sizes[up.position]), 1) if up is not down else None
                while larger is not None:
                    trial[up.position] = larger
                    found = cost(trial)
                    if found > limit:
                        break
                    if found > best_cost:
                        best, best_cost = trial.copy(), found
                    larger = up.step(larger, 1)
        if best_cost <= current:
            break
        sizes, current = best, best_cost
    return sizes
