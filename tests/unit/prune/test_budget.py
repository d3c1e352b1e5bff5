"""Budgets are met from below, with sizes the array likes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proprune_cli.channels.count import Sizes
from proprune_cli.errors import UsageError
from proprune_cli.prune.budget import Candidate, allocate, allowed_sizes
from proprune_cli.prune.options import Budget


@given(st.integers(1, 300), st.integers(1, 32), st.floats(0, 0.99))
def test_allowed_sizes_are_multiples_or_everything_and_never_zero(channels: int, multiple: int, keep: float) -> None:
    sizes = allowed_sizes(channels, multiple, keep)
    assert sizes[-1] == channels
    assert list(sizes) == sorted(set(sizes))
    assert all(s % multiple == 0 and s >= keep * channels and s > 0 for s in sizes[:-1])


@settings(max_examples=40, deadline=None)
@example([3, 3], "layer", 0.8125, 0)
@given(
    st.lists(st.integers(3, 12), min_size=2, max_size=6),
    st.sampled_from(["layer", "global"]),
    st.floats(0.3, 0.9),
    st.integers(0, 2**20),
)
def test_a_chain_of_layers_stays_below_its_budget_and_close_to_it(
    eights: list[int], scope: str, value: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    full: Sizes = np.array([8 * e for e in eights])
    candidates = [Candidate(i, rng.random(int(n)), allowed_sizes(int(n), 4, 0.0)) for i, n in enumerate(full)]

    def cost(sizes: Sizes) -> float:
        return float(np.sum(sizes[1:] * sizes[:-1]) + 3 * sizes[0])

    sizes = allocate(candidates, full, Budget("ops", value), scope, cost)
    reachable = value
    if len(full) == 2:
        # Two narrow layers have few sizes, and the best of them may be well below the budget.
        pairs = (np.array(pair) for pair in itertools.product(*(c.sizes for c in candidates)))
        reachable = max(share for pair in pairs if (share := cost(pair) / cost(full)) <= value)
    assert reachable - 0.1 < cost(sizes) / cost(full) <= value
    assert all(int(s) in c.sizes for s, c in zip(sizes, candidates, strict=True))


def test_ratio_takes_the_nearest_allowed_size_of_each_group() -> None:
    full: Sizes = np.array([20, 50, 500])
    candidates = [Candidate(i, np.arange(n, dtype=float), allowed_sizes(int(n), 8, 0.1)) for i, n in enumerate(full)]
    assert allocate(candidates, full, Budget("ratio", 0.5), "layer", lambda s: 1.0).tolist() == [8, 24, 248]


@pytest.mark.parametrize("text", ["ops", "ops=x", "ops=0", "ops=1.5", "watts=0.5", "ops=nan"])
def test_a_malformed_budget_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        Budget.parse(text)
