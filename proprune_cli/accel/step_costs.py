"""What steps cost each of the engine's processes, in cycles: the terms that `walk` puts together."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.headers import STREAM_FIFO
from proprune_cli.accel.memory import DDR_BURST_BYTES, Memory
from proprune_cli.accel.walk import FIELDS, Limits, StepRow

STEP_RESTART = 6
"""Cycles between the last beat of a step and the first of the next: banks change hands, the first tap is taken."""

ASK = 4
"""Cycles in which a step's planes and tables, and the descriptor that comes next, are asked for, all at once."""

ON_CHIP_LATENCY = 4
"""Cycles from the start of a burst of the engine's own memory to its first word."""

BURSTS_UNDER_WAY = 8
"""Bursts that a port has asked for and that are not over, at most: a latency is paid for each so many short ones."""

LOOKUP_WORDS = 256 // isa.WORD_BYTES
"""Words of a lookup table, read before the first step of a layer that has one."""

BLOCK_PAUSE = 3
"""Cycles between the output words of one block and those of the next."""


@dataclass(frozen=True)
class Traffic:
    """DDR words of each step of a layer, int64 [steps]; what the engine's counters report, summed.

    ``ddr_fetch`` is the part of ``fetch`` that is in DDR, read in ``bursts``, and ``ddr_store`` that of ``store``; the
    rest is on chip. ``lone`` counts the residual and output words that DDR moves without a neighbour, and
    ``lone_stored`` the output words among them.
    """

    fetch: NDArray[np.int64]
    ddr_fetch: NDArray[np.int64]
    bursts: NDArray[np.int64]
    weights: NDArray[np.int64]
    residual: NDArray[np.int64]
    store: NDArray[np.int64]
    ddr_store: NDArray[np.int64]
    lone: NDArray[np.int64]
    lone_stored: NDArray[np.int64]

    @staticmethod
    def of(layer: isa.LayerDescriptor, steps: isa.StepDescriptor, on_chip_groups: NDArray[np.int64]) -> Traffic:
        """Traffic of steps (columns); ``layer`` is one row for all of them, or one row for each.

        ``on_chip_groups``: how many of the groups that a step loads lie on chip.
        """
        y0, x0 = np.asarray(steps.y0), np.asarray(steps.x0)
        top, left = np.maximum(y0, 0), np.maximum(x0, 0)
        rows = np.maximum(np.minimum(y0 + steps.rows, layer.in_height) - top, 0)
        cols = np.maximum(np.minimum(x0 + steps.cols, layer.in_width) - left, 0)
        groups = np.asarray(steps.groups)
        pixels = np.asarray(steps.tile_height) * np.asarray(steps.tile_width)
        store = pixels * steps.emit_groups
        whole = (cols == layer.in_width) & (layer.in_pitch == layer.in_width)
        has_residual = np.asarray(layer.combine) != isa.Combine.NONE
        residual = np.where(layer.broadcast, steps.emit_groups, store) * has_residual
        single = np.asarray(layer.out_step_x) > 1
        bursts = np.where(whole, 1, rows) * (rows * cols > 0)
        ddr_store = store * ((np.asarray(layer.out_base) & isa.ON_CHIP) == 0)
        return Traffic(
            fetch=rows * cols * groups,
            ddr_fetch=rows * cols * (groups - on_chip_groups),
            bursts=bursts * (groups - on_chip_groups),
            weights=np.asarray(steps.weight_words),
            residual=residual,
            store=store,
            ddr_store=ddr_store,
            lone=ddr_store * single + residual * (single | np.asarray(layer.broadcast, dtype=np.bool_)),
            lone_stored=ddr_store * single,
        )

    @property
    def ddr_bytes(self) -> NDArray[np.int64]:
        """Bytes that DDR is kept busy for: those moved, and the unused rest of the bursts of lone words."""
        words = self.ddr_fetch + self.weights + self.residual + self.ddr_store
        return words * isa.WORD_BYTES + self.lone * (DDR_BURST_BYTES - isa.WORD_BYTES)


@dataclass(frozen=True)
class StepCosts:
    """Cycles of each step's processes, [steps] of one layer or of several one after the other.

    Attributes:
        describe: until the descriptor is there, which was asked for with what the step before reads.
        tables: to read the addresses of planes, lane patterns and lookup tables.
        lead: to the first word that is loaded. fill: to load the tile. load_ddr: that DDR is busy with it.
        busy: to compute. first: from there on to the first output. store: for the output words to leave the combiner.
        last: from the last beat until the last word of the last block is requantised.
        bus: to store the output words. store_ddr: that DDR is busy with them. run_ddr: and with what is read meanwhile.
        operands: until the first residual operand is there, once they may be read: its address comes first.
        slows_load, slowed_store: for each cycle of storing while a tile is loaded from DDR, how much longer that load,
            and the store, take. slows_run: how much longer a load takes that lasts as long as this step computes.
        weights: for the weight stream. iterations: in which the array multiplies.
        ddr_bytes: that DDR is kept busy for.
    """

    describe: NDArray[np.float64]
    tables: NDArray[np.float64]
    lead: NDArray[np.float64]
    fill: NDArray[np.float64]
    busy: NDArray[np.float64]
    first: NDArray[np.float64]
    store: NDArray[np.float64]
    last: NDArray[np.int64]
    bus: NDArray[np.float64]
    load_ddr: NDArray[np.float64]
    run_ddr: NDArray[np.float64]
    store_ddr: NDArray[np.float64]
    operands: NDArray[np.float64]
    slows_load: NDArray[np.float64]
    slowed_store: NDArray[np.float64]
    slows_run: NDArray[np.float64]
    weights: NDArray[np.float64]
    iterations: NDArray[np.int64]
    ddr_bytes: NDArray[np.int64]

    @staticmethod
    def of(
        layer: isa.LayerDescriptor,
        steps: isa.StepDescriptor,
        counts: NDArray[np.int64],
        array: Array,
        memory: Memory,
        on_chip_groups: NDArray[np.int64],
        last_steps: NDArray[np.int64] | None = None,
    ) -> StepCosts:
        """``layer`` is one row, or one row for each step; ``counts`` are the steps of each layer.

        Args:
            last_steps: of each run of the engine, whose weights are read ahead from its first step on. None: of what
                comes before and after nothing is known, and each step's weights are read while it computes.
        """
        traffic, latency, rate = Traffic.of(layer, steps, on_chip_groups), memory.latency, memory.bytes_per_cycle
        iterations, groups = np.asarray(steps.iterations), np.asarray(steps.groups)
        emits, pixels = np.asarray(steps.emit_groups), np.asarray(steps.tile_height) * np.asarray(steps.tile_width)
        beats = np.maximum(-(-pixels // array.px), array.min_beats)
        blocks = -(-emits // array.oc_groups)
        first = np.zeros(len(iterations))
        first[np.cumsum(counts) - counts] = 1.0
        patterns = np.asarray(layer.pattern_count) * array.pattern_words

        apart = np.asarray(layer.out_step_x) > 1
        on_ddr = (np.asarray(layer.out_base) & isa.ON_CHIP) == 0
        alone = np.where(apart & on_ddr, lone_cycles(memory), 1.0)
        residual = traffic.residual * alone
        weights = traffic.weights / array.weight_port_words
        busy = np.maximum.reduce([iterations + STEP_RESTART, weights, residual])
        cells = np.asarray(steps.rows) * np.asarray(steps.cols) * groups
        fetch = np.maximum(traffic.fetch, traffic.bursts * latency / BURSTS_UNDER_WAY)
        pause = (BLOCK_PAUSE * blocks).astype(np.float64)

        # Ports that want memory at the same time get like shares of it, each one word per cycle at most.
        word = isa.WORD_BYTES / rate
        stored = np.where(apart, DDR_BURST_BYTES, isa.WORD_BYTES) * on_ddr / rate
        pace = np.maximum(alone, stored)
        together = (stored + word) * on_ddr

        read = traffic.weights if last_steps is None else _read_ahead(traffic.weights, array, last_steps)
        described = isa.StepDescriptor.WORDS + groups + first * (isa.LayerDescriptor.WORDS + patterns)
        store_ddr = traffic.ddr_store * isa.WORD_BYTES + traffic.lone_stored * (DDR_BURST_BYTES - isa.WORD_BYTES)
        load_ddr = traffic.ddr_fetch * isa.WORD_BYTES
        others = traffic.ddr_bytes - load_ddr - store_ddr + (read - traffic.weights + described) * isa.WORD_BYTES
        beside = np.maximum(others - traffic.residual * isa.WORD_BYTES, 0) / isa.WORD_BYTES

        lookup = np.where(np.asarray(layer.lookup) != isa.Lookup.NONE, LOOKUP_WORDS, 0)
        return StepCosts(
            describe=ASK + isa.StepDescriptor.WORDS + first * (latency + isa.LayerDescriptor.WORDS),
            tables=latency + groups + first * (lookup + patterns),
            lead=np.where(traffic.ddr_fetch > 0, latency, float(ON_CHIP_LATENCY)),
            fill=np.maximum(cells, fetch),
            busy=busy,
            first=np.maximum(busy / np.maximum(blocks, 1) - beats, 0),
            store=traffic.store + pause,
            # A block's groups leave one after the other; the first of them with its beats.
            last=np.maximum(pixels * (2 * np.minimum(array.oc_groups, emits) - 1) - beats, 0),
            bus=traffic.store * pace + pause,
            load_ddr=load_ddr / rate,
            run_ddr=others / rate,
            store_ddr=store_ddr / rate,
            operands=np.where(traffic.residual > 0, 2 * latency, 0.0),
            slows_load=np.broadcast_to(np.maximum(together - max(1.0, word), 0) / pace, iterations.shape),
            slowed_store=np.broadcast_to(np.maximum(together - pace, 0) / pace, iterations.shape),
            slows_run=beside * max(2 * word - max(1.0, word), 0.0),
            weights=weights,
            iterations=iterations,
            ddr_bytes=traffic.ddr_bytes,
        )

    def twice(self) -> StepCosts:
        """The same steps again after these."""
        return StepCosts(**{f.name: np.concatenate([x := getattr(self, f.name), x]) for f in fields(self)})

    def rows(self) -> list[StepRow]:
        """What `walk` needs of each step."""
        return list(zip(*(getattr(self, name).tolist() for name in FIELDS), strict=True))


def lone_cycles(memory: Memory) -> float:
    """Cycles of a word that is a burst of its own, stored or read as a residual operand."""
    return max(1.0, (memory.latency + 1) / BURSTS_UNDER_WAY)


def limits(array: Array, memory: Memory) -> Limits:
    """What walks on an array and a memory have in common."""
    ahead = STREAM_FIFO * array.weight_port_words * isa.WORD_BYTES / memory.bytes_per_cycle
    return Limits(memory.latency, float(array.acc_depth * array.px * array.oc_groups), ahead)


def _read_ahead(words: NDArray[np.int64], array: Array, last_steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Words of the weight stream that are read while each step computes, when its queue was full before."""
    ends = np.cumsum(words)
    whole = np.repeat(ends[last_steps], np.diff(last_steps, prepend=-1))
    until = np.minimum(ends + STREAM_FIFO * array.weight_port_words, whole)
    before = np.concatenate([[0], until[:-1]])
    firsts = np.append(0, last_steps[:-1] + 1)
    before[firsts] = ends[firsts] - words[firsts]
    return until - before
