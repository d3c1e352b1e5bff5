"""The timing model: cycles of each layer from the engine's loops and the board's memory. All it says is *predicted*.

It walks the same steps as the hardware. Each step has four processes that run side by side, joined by double buffers
and FIFOs; a step's tile loads while the step before computes. Assumptions, each a named constant or a field of
:class:`Memory`:

- the accumulate loop has an initiation interval of 1 and ``PIPELINE_DEPTH`` cycles of fill for each step;
- the bank fill writes one cell of one channel group per cycle, padding included; the fetch before it moves one word
  per cycle and pays one read latency for each burst (one per group when the tile spans whole rows that follow one
  another in DDR, else one per row);
- the weight reader moves one port beat per cycle and runs at most a few taps ahead, so a step cannot end before its
  weights have streamed;
- stores move one word per cycle, or one in ``STRIDED_STORE_CYCLES`` where pixels are not neighbours in DDR; the FIFO
  before them holds one block, so a later block waits for an earlier one;
- a word that is not read or written together with its neighbour costs DDR a burst of ``DDR_BURST_BYTES``;
- all ports share the planned DDR bandwidth; a layer waits for its last write before the next one starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.program import Program

MODEL = "proprune loop model 2"
"""Name under which its figures are reported."""

PIPELINE_DEPTH = 24
"""Cycles from the first read of a bank to the write-back of an accumulator, and the loop's restart, per step."""

LAYER_READS = 4
"""Dependent reads before a layer's first step: descriptor, group table, patterns, first step descriptor."""

LOOKUP_WORDS = 256 // isa.WORD_BYTES
"""Words of a lookup table, read before the first step of a layer that has one."""

STRIDED_STORE_CYCLES = 4
"""Cycles of a word that is a burst of its own, stored or read as a residual operand.

An assumption, not measured: nobody waits for the response to each, but a port takes a new address only every few
cycles."""

DDR_BURST_BYTES = 16
"""Least that DDR moves at once: 8 transfers of the 16-bit DDR3 of a PYNQ-Z1 or -Z2. Assumed of every board."""

Bound = Literal["compute", "memory", "overhead"]


@dataclass(frozen=True)
class Memory:
    """DDR as one engine clock sees it.

    Attributes:
        bytes_per_cycle: planned bandwidth of all ports together.
        latency: cycles from a read request to its first word.
        clock_mhz: engine clock.
    """

    bytes_per_cycle: float
    latency: float
    clock_mhz: float

    @staticmethod
    def planned(bandwidth_gb_s: float, latency_ns: float, clock_mhz: float) -> Memory:
        """From a board's planned bandwidth in GB/s (1e9 bytes) and read latency in ns."""
        return Memory(bandwidth_gb_s * 1e3 / clock_mhz, latency_ns * clock_mhz * 1e-3, clock_mhz)

    @staticmethod
    def of(board: Board, array: Array) -> Memory:
        """What ``board`` is planned to give an engine at the array's clock."""
        return Memory.planned(board.ddr_planned_gb_s, board.ddr_latency_ns, array.clock_mhz)


@dataclass(frozen=True)
class LayerTiming:
    """Predicted cost of one layer.

    Attributes:
        iterations: cycles in which the array multiplies. memory_cycles: DDR bytes at the planned bandwidth.
        bound: "compute" where the array is busy most of the time, "memory" where data is awaited most, else "overhead".
    """

    name: str
    cycles: int
    iterations: int
    memory_cycles: int
    ddr_bytes: int
    bound: Bound


@dataclass(frozen=True)
class Timing:
    """Predicted cost of a program."""

    layers: tuple[LayerTiming, ...]
    clock_mhz: float
    model: str = MODEL

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    @property
    def latency_ms(self) -> float:
        return self.cycles / self.clock_mhz * 1e-3

    @property
    def ddr_bytes(self) -> int:
        return sum(layer.ddr_bytes for layer in self.layers)


@dataclass(frozen=True)
class Traffic:
    """DDR words of each step of a layer, int64 [steps]; what the engine's counters report, summed.

    ``bursts`` are those of ``fetch``. ``lone`` counts the residual and output words that move without a neighbour.
    """

    fetch: NDArray[np.int64]
    bursts: NDArray[np.int64]
    weights: NDArray[np.int64]
    residual: NDArray[np.int64]
    store: NDArray[np.int64]
    lone: NDArray[np.int64]

    @staticmethod
    def of(layer: isa.LayerDescriptor, steps: isa.StepDescriptor) -> Traffic:
        """Traffic of steps (columns); ``layer`` is one row for all of them, or one row for each."""
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
        return Traffic(
            fetch=rows * cols * groups,
            bursts=groups * np.where(whole, 1, rows) * (rows * cols > 0),
            weights=np.asarray(steps.weight_words),
            residual=residual,
            store=store,
            lone=store * single + residual * (single | np.asarray(layer.broadcast, dtype=np.bool_)),
        )

    @property
    def ddr_bytes(self) -> NDArray[np.int64]:
        """Bytes that DDR is kept busy for: those moved, and the unused rest of the bursts of lone words."""
        words = self.fetch + self.weights + self.residual + self.store
        return words * isa.WORD_BYTES + self.lone * (DDR_BURST_BYTES - isa.WORD_BYTES)


def layer_timing(
    name: str, layer: isa.LayerDescriptor, steps: isa.StepDescriptor, array: Array, memory: Memory
) -> LayerTiming:
    """Predict one layer: ``layer`` is one row, ``steps`` its columnar step descriptors (addresses are not used)."""
    count = np.size(steps.iterations)
    costs = _StepCosts.of(layer, steps, np.array([count]), array, memory)
    return costs.layer(name, slice(0, count), looks_up=bool(layer.lookup), memory=memory)


def estimate(program: Program, array: Array, memory: Memory) -> Timing:
    """Predict every layer of an encoded program; the steps of all layers are worked on together."""
    layers = program.layers()
    counts = np.asarray(layers.step_count)
    steps = program.all_steps(layers)
    columns = {name: np.repeat(np.asarray(getattr(layers, name)), counts) for name in layers.layout()}
    costs = _StepCosts.of(isa.LayerDescriptor(**columns), steps, counts, array, memory)
    ends = np.cumsum(counts)
    lookups = np.asarray(layers.lookup).tolist()
    return Timing(
        tuple(
            costs.layer(name, slice(int(end - count), int(end)), looks_up=bool(lookup), memory=memory)
            for name, end, count, lookup in zip(program.layer_names, ends, counts, lookups, strict=True)
        ),
        memory.clock_mhz,
    )


@dataclass(frozen=True)
class _StepCosts:
    """Cycles of each step's processes, [steps] of one layer or of several one after the other."""

    fill: NDArray[np.float64]
    busy: NDArray[np.float64]
    store: NDArray[np.int64]
    last_block: NDArray[np.int64]
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
    ) -> _StepCosts:
        """``layer`` is one row, or one row for each step; ``counts`` are the steps of each layer."""
        traffic, latency = Traffic.of(layer, steps), memory.latency
        iterations = np.asarray(steps.iterations)
        cells = np.asarray(steps.rows) * np.asarray(steps.cols) * np.asarray(steps.groups)
        pixels = np.asarray(steps.tile_height) * np.asarray(steps.tile_width)
        per_word = np.where(np.asarray(layer.out_step_x) > 1, STRIDED_STORE_CYCLES, 1)
        store, residual = traffic.store * per_word, traffic.residual * per_word
        last_block = pixels * array.oc_groups * (np.asarray(steps.emit_groups) > 0) * per_word
        weights = traffic.weights / array.weight_port_words
        # While a step computes, the next one's input is fetched.
        following = np.append(traffic.fetch[1:], 0)
        following[np.cumsum(counts) - 1] = 0
        shared = (traffic.ddr_bytes + (following - traffic.fetch) * isa.WORD_BYTES) / memory.bytes_per_cycle
        # The store of all blocks but the last overlaps the blocks after them.
        paces = [iterations + PIPELINE_DEPTH, weights + latency, residual + latency, shared, store - last_block]
        return _StepCosts(
            fill=np.maximum(cells, traffic.fetch + traffic.bursts * latency) + latency,
            busy=np.maximum.reduce(paces),
            store=store,
            last_block=last_block,
            weights=weights,
            iterations=iterations,
            ddr_bytes=traffic.ddr_bytes,
        )

    def layer(self, name: str, steps: slice, *, looks_up: bool, memory: Memory) -> LayerTiming:
        """Chain a layer's steps: loads, computations and stores overlap as the double buffers allow."""
        columns = (self.fill, self.busy, self.store, self.last_block)
        loaded = computed = stored = before = 0.0
        for fill, busy, store, last in zip(*(c[steps].tolist() for c in columns), strict=True):
            loaded = max(loaded, before) + fill  # the bank it writes is free once the step before the last has computed
            before = computed
            computed = max(loaded, computed, stored - last) + busy
            stored = max(stored + store, computed + last) if store else stored
        ddr_bytes = int(self.ddr_bytes[steps].sum())
        memory_cycles = ddr_bytes / memory.bytes_per_cycle
        start = LAYER_READS * memory.latency + (memory.latency + LOOKUP_WORDS if looks_up else 0)
        cycles = max(max(computed, stored) + memory.latency, memory_cycles) + start
        compute = int(self.iterations[steps].sum())
        others = (float(c[steps].sum()) for c in (self.weights, self.fill, self.store))
        waiting = max(memory_cycles, *others)
        bound: Bound = (
            "compute" if compute >= max(waiting, cycles / 2) else "memory" if waiting >= cycles / 2 else "overhead"
        )
        return LayerTiming(name, round(cycles), compute, round(memory_cycles), ddr_bytes, bound)
