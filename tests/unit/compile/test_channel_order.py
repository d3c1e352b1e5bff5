"""The order of a stream's channels: a permutation, exact where it can be, never worse than what was there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proprune_cli.compile.cluster.channel_order import channel_order, touched_groups


def groups(live: np.ndarray, costs: np.ndarray | None = None) -> list[int]:
    """Groups that each writer touches in the order chosen."""
    order = channel_order(live, np.ones(len(live), dtype=np.int64) if costs is None else costs)
    assert sorted(order.tolist()) == list(range(live.shape[1]))
    return touched_groups(live[:, order]).tolist()


def whole(live: np.ndarray) -> list[int]:
    return (-(-live.sum(axis=1) // 8)).tolist()


@pytest.mark.parametrize("counts", [(64, 40, 17, 3), (30, 29, 28), (9, 9), (56, 1)])
def test_nested_survivors_fill_whole_groups(counts: tuple[int, ...]) -> None:
    place = np.random.default_rng(0).permutation(64)
    live = np.stack([place < count for count in counts])
    assert groups(live) == whole(live)


@pytest.mark.parametrize("writers", [2, 3, 8])
def test_survivors_in_clusters_of_eight_fill_whole_groups(writers: int) -> None:
    rng = np.random.default_rng(writers)
    cluster = rng.permutation(96) % 12
    live = np.stack([np.isin(cluster, rng.permutation(12)[:5]) for _ in range(writers)])
    assert groups(live) == whole(live)


def test_two_writers_of_arbitrary_survivors_lose_one_group_at_most() -> None:
    for seed in range(20):
        live = np.random.default_rng(seed).random((2, 64)) < 0.4
        assert sum(groups(live)) <= sum(whole(live)) + 1


def test_a_dear_writer_comes_first() -> None:
    live = np.random.default_rng(1).random((4, 40)) < 0.5
    for dear in range(4):
        costs = np.ones(4, dtype=np.int64)
        costs[dear] = 100
        assert groups(live, costs)[dear] == whole(live)[dear]


def test_an_order_that_is_good_already_is_kept() -> None:
    live = np.arange(64) < np.array([[64], [24]])
    np.testing.assert_array_equal(channel_order(live, np.array([1, 1])), np.arange(64))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(9, 90), st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_no_order_is_worse_than_the_one_that_was_there(writers: int, channels: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    live, costs = rng.random((writers, channels)) < share, rng.integers(1, 50, writers)
    before, after = touched_groups(live) @ costs, np.array(groups(live, costs)) @ costs
    assert after <= before
    np.testing.assert_array_equal(channel_order(live, costs), channel_order(live, costs))
