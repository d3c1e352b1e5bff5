"""The walk of the timing model from step to step: plain numbers, for it is taken of every tiling that is tried."""

from __future__ import annotations

from collections.abc import Sequence

StepRow = tuple[float, float, float, float, float, int, int]
"""Of one step: describe, tables, lead, fill, busy, store, last block; see `StepCosts`."""

Clocks = tuple[float, float, float, float, float, float]
"""Cycles at which, after some steps: the next descriptor can be read; the last tile is loaded; it, and the one before
it, is computed; its stores have left; it is complete."""

DRAIN = 35
"""Cycles from the last beat of a step to its last output word: array, requantiser, combiner, and the queues between."""

START: Clocks = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def walk(
    rows: Sequence[StepRow], waits: Sequence[int], clocks: Clocks, done: list[float], latency: float
) -> tuple[Clocks, float]:
    """Run steps from ``clocks`` on: loads, computations and stores overlap as double buffers and waits allow.

    Args:
        waits: steps back to the latest one that must be complete before a step loads; 0: none.
        done: when each step before was complete; added to.

    Returns:
        The clocks afterwards, and when all was computed and stored.
    """
    ready, loaded, computed, before, stored, end = clocks
    index = len(done)
    for (describe, tables, lead, fill, busy, store, last), wait in zip(rows, waits, strict=True):
        # The planes' addresses are read ahead too: what waits for others are the loads alone.
        go = ready + describe + latency
        ready += describe + tables
        if 0 < wait <= index and done[index - wait] > go:
            go = done[index - wait]
        index += 1
        # Words of one tile follow those of another; the bank is free once the step before the last has computed.
        if go + lead > loaded:
            loaded = go + lead
        if before > loaded:
            loaded = before
        loaded += fill
        before = computed
        free = stored - last
        if loaded > computed:
            computed = loaded
        if free > computed:
            computed = free
        computed += busy
        if store:
            stored += store
            if computed + last + DRAIN > stored:
                stored = computed + last + DRAIN
            begun = end - latency
            end = (stored if stored > begun else begun) + latency
        done.append(end)
    return (ready, loaded, computed, before, stored, end), (end if end > computed else computed)


def until(clocks: Clocks, end: float, floor: float, done: list[float]) -> Clocks:
    """The clocks at the ``end`` of a layer before which DDR cannot have moved all until ``floor``."""
    if floor <= end:
        return (*clocks[:5], end)
    done[-1] = floor
    ready, loaded, computed, before, stored, _ = clocks
    return (ready + floor - end, loaded + floor - end, computed + floor - end, before + floor - end,
            stored + floor - end, floor)  # fmt: skip
