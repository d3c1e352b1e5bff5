"""The walk of the timing model from step to step: plain numbers, for it is taken of every tiling that is tried."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from proprune_cli.accel.headers import STREAM_FIFO

DRAIN = 32
"""Cycles from a beat that makes an output to the word that leaves: array, requantiser, combiner, and their queues."""


FIELDS = ("describe", "tables", "lead", "fill", "load_ddr", "busy", "first", "store", "last", "bus", "run_ddr",
          "store_ddr", "operands", "slows_load", "slowed_store", "slows_run")  # fmt: skip
"""What the walk is told of one step, by name; `StepCosts` says what it is and where it comes from."""

StepRow = tuple[float, ...]
"""That, in order: plain tuples, for there are many."""

ANSWER = 4
"""Cycles that pass in the store and in the holder of loads, besides the latency, from a step's last word to its end."""


class Limits(NamedTuple):
    """What a walk is the same for in all steps.

    Attributes:
        latency: cycles from a read's request to its first word, and from the last word written to its response.
        room: output words that wait for those before them without keeping the array from its work.
        ahead: cycles that DDR takes for the weights that are read ahead of the array.
    """

    latency: float
    room: float
    ahead: float


class Ddr:
    """Memory that all ports share, as one server at full bandwidth: one transfer after the other.

    Transfers are not told of in the order in which they begin. The longest time that it was idle last is kept, so that
    one of before fits in.
    """

    __slots__ = ("_idle_from", "_idle_to", "until")

    def __init__(self, start: float) -> None:
        self.until = self._idle_from = self._idle_to = start

    def move(self, arrival: float, cycles: float) -> float:
        """When a transfer of ``cycles`` that is asked for at ``arrival`` has ended."""
        if arrival >= self.until:
            self._idle_from, self._idle_to = self.until, arrival
            self.until = arrival + cycles
            return self.until
        begin = arrival if arrival > self._idle_from else self._idle_from
        room = self._idle_to - begin
        if room > 0:
            if cycles <= room:
                end = begin + cycles
                if self._idle_to - end >= begin - self._idle_from:
                    self._idle_from = end
                else:
                    self._idle_to = begin
                return end
            self._idle_to = begin
            cycles -= room
        self.until += cycles
        return self.until


def walk(rows: Sequence[StepRow], waits: Sequence[int], stops: Collection[int], limits: Limits) -> list[float]:
    """When each step is complete: loads, computations and stores overlap as double buffers and waits allow.

    Args:
        waits: steps back to the latest one that must be complete before a step loads; 0: none.
        stops: steps before which the engine stops, and starts anew.
    """
    latency, room, ahead = limits
    answer = latency + ANSWER
    # When, after some steps: the next descriptor can be read; the last tile is loaded; it, and the one before it, is
    # computed; its words have left the combiner, and are stored; it is complete.
    loaded = computed = before = drained = stored = end = 0.0
    ready = latency
    second = third = 0.0  # the tiles before were loaded
    load_from = load_to = rate = 0.0  # the latest load from DDR, and what share of DDR's time it takes
    ddr = Ddr(0.0)
    done: list[float] = []

    def run(row: StepRow, filled: float, go: float) -> None:
        nonlocal loaded, computed, before, drained, stored, end
        busy, first, store, last, bus, run_ddr, store_ddr, operands, slows_load, slowed_store, slows_run = row[5:]
        begin = filled if filled > computed else computed
        before = computed
        computed = begin + busy
        if run_ddr:
            both = (load_to if load_to < computed else computed) - (load_from if load_from > begin else begin)
            if both > 0:
                loaded += slows_run * both / busy
            # What comes last was read ahead for the steps behind.
            moved = ddr.move(begin, run_ddr) - ahead
            if computed < load_to:
                moved -= rate * (load_to - computed)
            if moved > computed:
                computed = moved
        if store:
            arrival = begin + first + DRAIN
            if drained > arrival:
                arrival = drained
            if operands and go + operands > arrival:
                arrival = go + operands
            drained = arrival + store
            if drained - room > computed:
                computed = drained - room
            if computed + last + DRAIN > drained:
                drained = computed + last + DRAIN
            since = stored if stored > arrival else arrival
            stored = since + bus
            if slows_load or slowed_store:
                both = (load_to if load_to < stored else stored) - (load_from if load_from > since else since)
                if both > 0:
                    stored += both * slowed_store
                    loaded += both * slows_load
            if drained > stored:
                stored = drained
            if store_ddr:
                moved = ddr.move(arrival, store_ddr)
                if stored < load_to:
                    # The load is not over: what it still reads comes after.
                    moved -= rate * (load_to - stored)
                if moved > stored:
                    stored = moved
            # Words that memory does not take yet fill one queue after the other.
            if stored - STREAM_FIFO - room > computed:
                computed = stored - STREAM_FIFO - room
                drained = stored - STREAM_FIFO
            if stored + answer > end:
                end = stored + answer
        done.append(end)

    held: tuple[StepRow, float, float] | None = None  # loaded, not run yet
    for index, (row, wait) in enumerate(zip(rows, waits, strict=True)):
        describe, tables, lead, fill, load_ddr = row[:5]
        stopped = index in stops
        if held is not None and (wait == 1 or stopped):
            run(*held)
            held = None
        if stopped:
            done[-1] = end = max(end, computed, ddr.until)
            loaded = computed = before = drained = stored = end
            ready = end + latency
            ddr = Ddr(end)
        # The planes' addresses are read ahead too: what waits for others are the loads alone.
        ready += describe
        if third > ready:
            ready = third
        go = ready + latency
        ready += tables
        if 0 < wait <= index and done[index - wait] > go:
            go = done[index - wait]
        # Words of one tile follow those of another; the bank is free once the step before the last has computed.
        free = before if held is None else computed
        begin = go + lead
        if loaded > begin:
            begin = loaded
        if free > begin:
            begin = free
        third, second = second, loaded
        loaded = begin + fill
        if load_ddr:
            load_from, load_to, rate = begin, loaded, load_ddr / fill
            # Where memory was idle before, the queue before the bank is full of what it read ahead.
            idle = begin - STREAM_FIFO
            if go > idle:
                idle = go
            if ddr.until > idle:
                idle = ddr.until
            moved = ddr.move(begin, load_ddr)
            if begin > idle:
                moved -= begin - idle
            if moved > loaded:
                loaded = moved
        if held is not None:
            run(*held)
        held = row, loaded, go
    if held is not None:
        run(*held)
    if done and ddr.until > done[-1]:
        done[-1] = ddr.until
    return done
