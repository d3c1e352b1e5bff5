"""An order of a stream's channels in which each writer's survivors fill as few channel groups as possible.

The engine computes 8 output channels at a time. A writer that kept 24 of 64 channels costs three groups where they
lie together, and up to eight where they are scattered. Channels with the same *signature* (the writers that kept
them) are interchangeable; the order of signatures decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

SEARCHED = 48
"""Signatures up to which pairs of them are exchanged in search of a better order."""


def touched_groups(live: Bools) -> Ints:
    """Channel groups that each writer touches, int64 [writers], of bool [writers, channels in their order]."""
    padded = np.pad(live, ((0, 0), (0, -live.shape[1] % isa.GROUP)))
    return padded.reshape(len(live), -1, isa.GROUP).any(axis=2).sum(axis=1)


def channel_order(live: Bools, costs: Ints) -> Ints:
    """The channels in a new order, int64 [channels].

    Exact where the survivors are nested, or consist of clusters of 8; else the best that a greedy packing, sorted
    signatures and exchanges of two of them find. The order as it is stays where nothing is better. Deterministic.

    Args:
        live: bool [writers, channels], which channels each writer keeps.
        costs: int64 [writers], what a group costs a writer; 1 or more.
    """
    channels = live.shape[1]

    def cost(order: Ints) -> int:
        return int(touched_groups(live[:, order]) @ costs)

    signatures = _signatures(live, costs)
    candidates = [np.arange(channels), *_sorted(live, costs), _packed(live, costs, signatures)]
    best = min(candidates, key=cost)
    # No order can touch fewer groups than the channels need.
    floor = int(-(-live.sum(axis=1) // isa.GROUP) @ costs)
    if cost(best) == floor or len(signatures) > SEARCHED:
        return best
    return min((best, _exchanged(signatures, cost)), key=cost)


def _signatures(live: Bools, costs: Ints) -> list[Ints]:
    """Channels of each signature, those that most and dearest writers keep first."""
    order = np.lexsort((*live[::-1], -(costs @ live)))
    columns = live[:, order]
    starts = np.flatnonzero(np.r_[True, (columns[:, 1:] != columns[:, :-1]).any(axis=0)])
    return [np.sort(part) for part in np.split(order, starts[1:])]


def _sorted(live: Bools, costs: Ints) -> list[Ints]:
    """Sorted by signature, binary and in Gray code, with the writers in several orders of importance."""
    weights = (costs * live.sum(axis=1), costs, live.sum(axis=1), -live.sum(axis=1))
    found: list[Ints] = []
    for weight in weights:
        keys = live[np.argsort(-weight, kind="stable")]
        found.append(np.lexsort(~keys[::-1]))
        # A position's bit in Gray code is its own one's parity with those before: neighbours differ in one writer.
        found.append(np.lexsort(~(np.logical_xor.accumulate(keys, axis=0))[::-1]))
    return found


def _packed(live: Bools, costs: Ints, signatures: list[Ints]) -> Ints:
    """Whole groups of each signature, then the rest group by group, each channel where it adds least."""
    order: list[int] = []
    rest: list[int] = []
    for part in signatures:
        whole = len(part) // isa.GROUP * isa.GROUP
        order += part[:whole].tolist()
        rest += part[whole:].tolist()
    while rest:
        group = [rest.pop(0)]
        writers = live[:, group[0]].copy()
        while rest and len(group) < isa.GROUP:
            these = live[:, rest]
            added = costs @ (these & ~writers[:, None])
            missed = costs @ (~these & writers[:, None])
            at = int(np.lexsort((missed, added))[0])
            writers |= these[:, at]
            group.append(rest.pop(at))
        order += group
    return np.array(order, dtype=np.int64)


def _exchanged(signatures: list[Ints], cost: Callable[[Ints], int]) -> Ints:
    """Signatures in the order that exchanging two of them leads to, as long as that helps."""
    parts = list(signatures)
    best = cost(np.concatenate(parts))
    improved = True
    while improved:
        improved = False
        for i in range(len(parts)):
            for j in range(i + 1, len(parts)):
                parts[i], parts[j] = parts[j], parts[i]
                now = cost(np.concatenate(parts))
                if now < best:
                    best, improved = now, True
                else:
                    parts[i], parts[j] = parts[j], parts[i]
    return np.concatenate(parts)
