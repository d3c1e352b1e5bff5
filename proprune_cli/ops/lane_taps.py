"""Taps whose lanes read kernel positions of their own, for layers that lack weights in a pattern over the channels.

Where every channel keeps few kernel positions, but not the same ones (guided pruning, equation 1 of Boukli Hacene et
al. 2018, "Quantized Guided Pruning for Efficient Hardware Implementations of Convolutional Neural Networks"; weights
pruned one by one), a tap of one position for all channels is mostly zeros. Here each lane goes through the positions
of its own channel alone, so that a chunk takes as many taps as its fullest lane, not as many as its channels have
positions together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ops.taps import Lanes, Positions

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

SPREAD = 1 << 20
"""Stands for the distance of two tile rows where patterns are counted: further than any kernel row is long."""


@dataclass(frozen=True, eq=False)
class Deal:
    """One way to deal a chunk's kernel positions.

    Attributes:
        owns: bool [blocks, taps], the taps that each block walks; what it does not own has weight 0 there.
        own_offsets: lanes of a tap read positions of their own.
    """

    served: Positions
    owns: Bools
    own_offsets: bool

    @property
    def kept(self) -> int:
        """Taps of all blocks together."""
        return int(self.owns.sum())


def needs(weight: NDArray[np.int8] | Bools, out_lanes: int) -> Bools:
    """Where a block has any weight: bool [blocks, in_channels, positions] of [out, in_channels, positions]."""
    blocks = -(-len(weight) // out_lanes)
    padded = np.zeros((blocks * out_lanes, *weight.shape[1:]), dtype=np.bool_)
    padded[: len(weight)] = weight != 0
    return np.asarray(padded.reshape(blocks, out_lanes, *weight.shape[1:]).any(axis=1))


def _lane_needs(need: Bools, first_channel: int, lanes: Lanes) -> Bools:
    """``need`` of the channel that each lane serves, bool [blocks, IC, positions]; nothing where a lane idles."""
    channel = first_channel + lanes.channel
    valid = (lanes.channel >= 0) & (channel < need.shape[1])
    return need[:, np.where(valid, channel, 0)] & valid[:, None]


def shared_deal(served: Positions, need: Bools, first_channel: int, lanes: Lanes) -> Deal:
    """All channels at the same positions; blocks leave out taps without a weight."""
    lane = _lane_needs(need, first_channel, lanes)
    table = served.table
    owns = lane[:, np.arange(table.shape[1]), np.maximum(table, 0)] & (table >= 0)
    return Deal(served, np.asarray(owns.any(axis=2)), own_offsets=False)


def lane_deals(rows: tuple[int, int], need: Bools, first_channel: int, lanes: Lanes) -> list[Deal]:
    """Each lane at positions of its own, within ``rows`` = [first, end) of the kernel's positions.

    The first deal serves every block with the same taps, the second one gives each block taps of its own.
    """
    lane = _lane_needs(need, first_channel, lanes)
    inside = np.zeros(need.shape[2], dtype=np.bool_)
    inside[rows[0] : rows[1]] = True
    lane &= inside
    together = _dealt(np.asarray(lane.any(axis=0)), lanes)
    reach = lane[:, np.arange(len(lanes.channel)), np.maximum(together, 0)] & (together >= 0)
    deals = [Deal(Positions(together), np.asarray(reach.any(axis=2)), own_offsets=True)]
    if len(lane) > 1:
        tables = [_dealt(one, lanes) for one in lane]
        table, number = np.unique(np.concatenate(tables), axis=0, return_inverse=True)
        owns = np.zeros((len(lane), len(table)), dtype=np.bool_)
        owns[np.repeat(np.arange(len(lane)), [len(t) for t in tables]), number.reshape(-1)] = True
        owns &= (table >= 0).any(axis=1)
        deals.append(Deal(Positions(table), owns, own_offsets=True))
    return deals


def _dealt(lane: Bools, lanes: Lanes) -> Ints:
    """Positions of each lane, one after the other, int64 [taps, IC]; ``lane`` is bool [IC, positions].

    The copies of a channel take turns. There is at least one tap, be it an idle one.
    """
    rank = lane.cumsum(axis=1) - 1
    tap, slot = np.divmod(rank, lanes.slots)
    mine = lane & (slot == lanes.slot[:, None])
    table = np.full((int(tap[mine].max(initial=0)) + 1, len(lane)), -1, dtype=np.int64)
    at, position = np.nonzero(mine)
    table[tap[at, position], at] = position
    return table


def offsets(table: Ints, width: int, dilation: tuple[int, int]) -> set[bytes]:
    """The lane patterns of ``table`` whatever the tile: offsets of the lanes from the first cell that a tap reads."""
    cell = table // width * dilation[0] * SPREAD + table % width * dilation[1]
    base = np.where(table >= 0, cell, np.iinfo(np.int64).max).min(axis=1)
    relative = np.where(table >= 0, cell - base[:, None], 0)
    return {row.tobytes() for row in relative}


def choose_deals(
    choices: Sequence[Sequence[Deal]], width: int, dilation: tuple[int, int], max_patterns: int
) -> list[Deal]:
    """For each unit the deal with the fewest taps, as long as all patterns together are at most ``max_patterns``.

    The first choice of each unit is the one to fall back on; an equal number of taps is no reason to leave it. Units
    that save most for the patterns they add go first.

    Args:
        width, dilation: of the kernel.
    """
    chosen = [deals[0] for deals in choices]
    patterns = [offsets(deal.served.table, width, dilation) for deal in chosen]
    counted: dict[bytes, int] = {}
    for own in patterns:
        for pattern in own:
            counted[pattern] = counted.get(pattern, 0) + 1
    wishes: list[tuple[float, int, Deal, set[bytes]]] = []
    for unit, deals in enumerate(choices):
        for deal in deals[1:]:
            saved = deals[0].kept - deal.kept
            if saved > 0 and deal.served.taps <= max_patterns * width * width:
                wanted = offsets(deal.served.table, width, dilation)
                if len(wanted) <= max_patterns:
                    wishes.append((-saved / len(wanted), unit, deal, wanted))
    for _, unit, deal, wanted in sorted(wishes, key=lambda wish: wish[:2]):
        if deal.kept >= chosen[unit].kept:
            continue
        after = dict(counted)
        for pattern in patterns[unit]:
            after[pattern] -= 1
        for pattern in wanted:
            after[pattern] = after.get(pattern, 0) + 1
        after = {pattern: count for pattern, count in after.items() if count}
        if len(after) <= max_patterns:
            chosen[unit], patterns[unit], counted = deal, wanted, after
    return chosen
