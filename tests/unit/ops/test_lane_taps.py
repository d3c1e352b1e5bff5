"""Taps whose lanes have kernel positions of their own serve every weight once, within the pattern limit."""

from __future__ import annotations

import numpy as np
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.ops.lane_taps import Deal, choose_deals, lane_deals, needs, offsets, shared_deal
from proprune_cli.ops.taps import Lanes, dense_weights, lane_layout, positions

ARRAY = load_array("z7020-256")


def sparse(out: int, channels: int, kernel: int, density: float) -> np.ndarray:
    rng = np.random.default_rng(out * channels)
    weight = rng.integers(1, 127, (out, channels, kernel)).astype(np.int8)
    return np.where(rng.random(weight.shape) < density, weight, 0).astype(np.int8)


def served_weights(weight: np.ndarray, deal: Deal, lanes: Lanes) -> np.ndarray:
    """The weights that the taps of ``deal`` apply, collected per output channel, input channel and position."""
    taps = dense_weights(weight, 0, lanes, deal.served, ARRAY.oc) * deal.owns[:, :, None, None]
    found = np.zeros((taps.shape[0] * ARRAY.oc, *weight.shape[1:]), dtype=np.int64)
    for block, tap, o, lane in zip(*np.nonzero(taps), strict=True):
        channel, position = lanes.channel[lane], deal.served.table[tap, lane]
        found[block * ARRAY.oc + o, channel, position] += taps[block, tap, o, lane]
    return found[: len(weight)]


@pytest.mark.parametrize("channels", [1, 3, 8, 13, 16])
@pytest.mark.parametrize("density", [0.03, 0.3, 1.0])
def test_every_deal_serves_every_weight_once(channels: int, density: float) -> None:
    weight = sparse(20, channels, 9, density)
    lanes = lane_layout(channels, ARRAY, "dense").full
    need = needs(weight, ARRAY.oc)
    for deal in [shared_deal(positions(0, 9, lanes), need, 0, lanes), *lane_deals((0, 9), need, 0, lanes)]:
        np.testing.assert_array_equal(served_weights(weight, deal, lanes), weight)


def test_taps_are_as_many_as_the_fullest_lane_has_positions() -> None:
    weight = np.zeros((8, 16, 9), dtype=np.int8)
    weight[:, np.arange(16), np.arange(16) % 9] = 1
    weight[:, 3, 8] = 1  # one channel with two
    lanes = lane_layout(16, ARRAY, "dense").full
    need = needs(weight, ARRAY.oc)
    assert shared_deal(positions(0, 9, lanes), need, 0, lanes).kept == 9
    assert lane_deals((0, 9), need, 0, lanes)[0].kept == 2


def test_blocks_with_taps_of_their_own_walk_fewer() -> None:
    weight = np.zeros((16, 16, 9), dtype=np.int8)
    weight[:8, np.arange(16), np.arange(16) % 9] = 1
    weight[8:, np.arange(16), (np.arange(16) + 5) % 9] = 1
    lanes = lane_layout(16, ARRAY, "dense").full
    together, apart = lane_deals((0, 9), needs(weight, ARRAY.oc), 0, lanes)
    assert (together.kept, apart.kept) == (4, 2)


def test_units_that_save_most_go_first_when_patterns_run_out() -> None:
    lanes = lane_layout(16, ARRAY, "dense").full
    rng = np.random.default_rng(5)
    choices: list[list[Deal]] = []
    for kept in (4, 1, 2):
        weight = np.zeros((8, 16, 9), dtype=np.int8)
        for channel in range(16):
            weight[:, channel, rng.permutation(9)[:kept]] = 1
        need = needs(weight, ARRAY.oc)
        choices.append([shared_deal(positions(0, 9, lanes), need, 0, lanes), *lane_deals((0, 9), need, 0, lanes)])
    assert [d.kept for d in choose_deals(choices, 3, (1, 1), 64)] == [4, 1, 2]
    # The shared pattern, and those of one tap and of two.
    assert [d.kept for d in choose_deals(choices, 3, (1, 1), 4)] == [9, 1, 2]
    assert [d.kept for d in choose_deals(choices, 3, (1, 1), 2)] == [9, 1, 9]
    assert [d.kept for d in choose_deals(choices, 3, (1, 1), 1)] == [9, 9, 9]


def test_patterns_that_differ_by_a_shift_are_one() -> None:
    table = np.array([[0, 1, -1], [3, 4, -1], [4, 3, -1]])
    assert len(offsets(table, 3, (1, 1))) == 2
