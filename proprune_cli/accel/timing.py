"""The timing model: cycles of each layer from the engine's loops and the board's memory. All it says is *predicted*.

It walks the same steps as the hardware. Each step has four processes that run side by side, joined by double buffers
and FIFOs; a step's tile loads while the step before computes. Assumptions, each a named constant or a field of
:class:`Memory`:

- the accumulate loop has an initiation interval of 1, and ``STEP_RESTART`` cycles pass between two steps; the last
  output word leaves ``walk.DRAIN`` cycles after the last beat;
- the bank fill writes one cell of one channel group per cycle, padding included; the fetch before it moves one word
  per cycle, and asks ahead for up to ``BURSTS_UNDER_WAY`` bursts (one per group when the tile spans whole rows that
  follow one another in DDR, else one per row): a tile pays a read latency where it waited for others, and short rows
  one for each so many;
- the weight reader and that of residual operands move one beat per cycle and run ahead, so that a step cannot end
  before what it reads has streamed;
- stores move one word per cycle, or one in ``STRIDED_STORE_CYCLES`` where pixels are not neighbours in DDR; the FIFO
  before them holds one block, so a later block waits for an earlier one;
- a word that is not read or written together with its neighbour costs DDR a burst of ``DDR_BURST_BYTES``;
- planes of the engine's own memory cost no DDR traffic, and ``ON_CHIP_LATENCY`` instead of a read latency;
- descriptors, tables and planes' addresses of a step are read while the steps before it are at work; it loads once the
  step it depends on has been stored, one latency for the write's response included;
- all ports share the planned DDR bandwidth.

docs/timing-model.md has what it predicts beside cycles that were counted in a simulation of the RTL.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.program import Program
from proprune_cli.accel.walk import START, StepRow, until, walk

MODEL = "proprune loop model 4"
"""Name under which its figures are reported."""

STEP_RESTART = 6
"""Cycles between the last beat of a step and the first of the next: banks change hands, the first tap is taken."""

ON_CHIP_LATENCY = 4
"""Cycles from the start of a burst of the engine's own memory to its first word."""

BURSTS_UNDER_WAY = 8
"""Reads that a port has asked for and not got, at most; a latency is paid for each so many short rows."""

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

    @property
    def cycles_at_work(self) -> int:
        """``cycles``, and those in which the array began before the layer before had stored its result."""
        return max(self.cycles, self.iterations)


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

    ``ddr_fetch`` is the part of ``fetch`` that is in DDR, read in ``bursts``, and ``ddr_store`` that of ``store``; the
    rest is on chip. ``lone`` counts the residual and output words that DDR moves without a neighbour.
    """

    fetch: NDArray[np.int64]
    ddr_fetch: NDArray[np.int64]
    bursts: NDArray[np.int64]
    weights: NDArray[np.int64]
    residual: NDArray[np.int64]
    store: NDArray[np.int64]
    ddr_store: NDArray[np.int64]
    lone: NDArray[np.int64]

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
        )

    @property
    def ddr_bytes(self) -> NDArray[np.int64]:
        """Bytes that DDR is kept busy for: those moved, and the unused rest of the bursts of lone words."""
        words = self.ddr_fetch + self.weights + self.residual + self.ddr_store
        return words * isa.WORD_BYTES + self.lone * (DDR_BURST_BYTES - isa.WORD_BYTES)


def estimate(program: Program, array: Array, memory: Memory) -> Timing:
    """Predict every layer of an encoded program, one after the other as the engine runs them."""
    layers = program.layers()
    counts = np.asarray(layers.step_count)
    steps = program.all_steps(layers)
    columns = {name: np.repeat(np.asarray(getattr(layers, name)), counts) for name in layers.layout()}
    per_step = isa.LayerDescriptor(**columns)
    costs = StepCosts.of(per_step, steps, counts, array, memory, _on_chip_groups(program, layers, counts, steps))
    depends = np.asarray(steps.depends)
    waits = np.where(depends > 0, depends, isa.STEPS_IN_FLIGHT)
    stops = tuple(step.after for step in program.host_steps)
    return Timing(tuple(chain(program.layer_names, counts, costs, waits, stops, memory)), memory.clock_mhz)


def estimate_passes(
    names: tuple[str, ...],
    layers: Sequence[isa.LayerDescriptor],
    steps: Sequence[isa.StepDescriptor],
    patterns: Sequence[int],
    stored_on_chip: Sequence[bool],
    on_chip_groups: Sequence[NDArray[np.int64]],
    depends: Sequence[NDArray[np.int64]],
    stops: tuple[int, ...],
    array: Array,
    memory: Memory,
) -> Timing:
    """`estimate` for layers that are not in a program yet.

    Args:
        layers: one row each, without addresses. steps: of each layer, columns.
        patterns: lane patterns of each layer. stored_on_chip: whether its output lies on chip.
        on_chip_groups: how many of the groups that each step loads lie on chip. depends: the field of each step.
        stops: numbers of layers before which the engine stops for the processor.
    """
    counts = np.array([len(d) for d in depends])
    rows = {name: [getattr(layer, name) for layer in layers] for name in _OF_LAYER}
    rows |= {"pattern_count": list(patterns), "out_base": [isa.ON_CHIP * on_chip for on_chip in stored_on_chip]}
    per_step = isa.LayerDescriptor(**{name: np.repeat(np.array(row), counts) for name, row in rows.items()})
    columns = isa.StepDescriptor(
        **{name: np.concatenate([np.asarray(getattr(s, name)) for s in steps]) for name in _OF_STEP}
    )
    costs = StepCosts.of(per_step, columns, counts, array, memory, np.concatenate(on_chip_groups))
    distance = np.concatenate(depends)
    waits = np.where(distance > 0, distance, isa.STEPS_IN_FLIGHT)
    return Timing(tuple(chain(names, counts, costs, waits, stops, memory)), memory.clock_mhz)


_OF_LAYER = ("in_height", "in_width", "in_pitch", "combine", "broadcast", "lookup", "out_step_x")
_OF_STEP = ("y0", "x0", "rows", "cols", "tile_height", "tile_width", "groups", "iterations", "emit_groups",
            "weight_words")  # fmt: skip
"""Fields of the records that cycles depend on."""


def _on_chip_groups(
    program: Program, layers: isa.LayerDescriptor, counts: NDArray[np.int64], steps: isa.StepDescriptor
) -> NDArray[np.int64]:
    """How many of the groups that each step loads lie on chip, int64 [steps]."""
    first, groups = np.asarray(steps.first_group), np.asarray(steps.groups)
    found = np.zeros(len(groups), dtype=np.int64)
    begin = 0
    for table, count in zip(np.asarray(layers.group_table).tolist(), counts.tolist(), strict=True):
        part = slice(begin, begin + count)
        begin += count
        planes = program.image[table : table + int((first[part] + groups[part]).max())]
        before = np.concatenate([[0], np.cumsum((planes & np.uint64(isa.ON_CHIP)) > 0)])
        found[part] = before[first[part] + groups[part]] - before[first[part]]
    return found


@dataclass(frozen=True)
class StepCosts:
    """Cycles of each step's processes, [steps] of one layer or of several one after the other.

    ``describe`` comes before a step's wait for others, ``tables`` after it.
    """

    describe: NDArray[np.float64]
    tables: NDArray[np.float64]
    lead: NDArray[np.float64]
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
        on_chip_groups: NDArray[np.int64],
        breaks: NDArray[np.int64] | None = None,
    ) -> StepCosts:
        """``layer`` is one row, or one row for each step; ``counts`` are the steps of each layer.

        Args:
            breaks: steps after which another program begins.
        """
        traffic, latency = Traffic.of(layer, steps, on_chip_groups), memory.latency
        iterations, groups = np.asarray(steps.iterations), np.asarray(steps.groups)
        cells = np.asarray(steps.rows) * np.asarray(steps.cols) * groups
        pixels = np.asarray(steps.tile_height) * np.asarray(steps.tile_width)
        ddr = (np.asarray(layer.out_base) & isa.ON_CHIP) == 0
        per_word = np.where((np.asarray(layer.out_step_x) > 1) & ddr, STRIDED_STORE_CYCLES, 1)
        store, residual = traffic.store * per_word, traffic.residual * per_word
        last_block = pixels * array.oc_groups * (np.asarray(steps.emit_groups) > 0) * per_word
        weights = traffic.weights / array.weight_port_words
        # While a step computes, the next one's input is fetched.
        following = np.append(traffic.ddr_fetch[1:], 0)
        if breaks is not None:
            following[breaks] = 0
        shared = (traffic.ddr_bytes + (following - traffic.ddr_fetch) * isa.WORD_BYTES) / memory.bytes_per_cycle
        # The store of all blocks but the last overlaps the blocks after them.
        paces = [iterations + STEP_RESTART, weights, residual, shared, store - last_block]
        first = np.zeros(len(iterations))
        first[np.cumsum(counts) - counts] = 1.0
        lookup = np.where(np.asarray(layer.lookup) != isa.Lookup.NONE, latency + LOOKUP_WORDS, 0)
        patterns = latency + np.asarray(layer.pattern_count) * array.pattern_words
        fetch = np.maximum(traffic.fetch, traffic.bursts * latency / BURSTS_UNDER_WAY)
        return StepCosts(
            describe=latency + isa.StepDescriptor.WORDS + first * (latency + isa.LayerDescriptor.WORDS),
            tables=latency + groups + first * (lookup + patterns),
            lead=np.where(traffic.ddr_fetch > 0, latency, float(ON_CHIP_LATENCY)),
            fill=np.maximum(cells, fetch),
            busy=np.maximum.reduce(paces),
            store=store,
            last_block=last_block,
            weights=weights,
            iterations=iterations,
            ddr_bytes=traffic.ddr_bytes,
        )

    def twice(self) -> StepCosts:
        """The same steps again after these."""
        return StepCosts(**{f.name: np.concatenate([x := getattr(self, f.name), x]) for f in fields(self)})

    def rows(self) -> list[StepRow]:
        """What `walk` needs of each step."""
        columns = (self.describe, self.tables, self.lead, self.fill, self.busy, self.store, self.last_block)
        return list(zip(*(c.tolist() for c in columns), strict=True))


def ends_of(
    counts: Sequence[int],
    rows: Sequence[StepRow],
    waits: Sequence[int],
    moved: Sequence[int],
    stops: Collection[int],
    memory: Memory,
) -> list[float]:
    """Cycles at which each layer of a program ends.

    Args:
        counts: steps of each. rows: what each step takes. waits: as in `chain`.
        moved: bytes that DDR has moved when each ends. stops: as in `chain`.
    """
    clocks, end, begin = START, 0.0, 0
    done: list[float] = []
    ends: list[float] = []
    for number, (count, ddr_bytes) in enumerate(zip(counts, moved, strict=True)):
        if number in stops:
            clocks = (end, end, end, end, end, end)
        part = slice(begin, begin := begin + count)
        clocks, end = walk(rows[part], waits[part], clocks, done, memory.latency)
        # However the layers overlap, DDR has moved all that came so far.
        clocks = until(clocks, end, ddr_bytes / memory.bytes_per_cycle, done)
        end = clocks[-1]
        ends.append(end)
    return ends


def chain(
    names: tuple[str, ...],
    counts: NDArray[np.int64],
    costs: StepCosts,
    waits: NDArray[np.int64],
    stops: tuple[int, ...],
    memory: Memory,
) -> list[LayerTiming]:
    """Chain the steps of layers: loads, computations and stores overlap as double buffers and waits allow.

    Args:
        waits: steps back to the latest one that must be complete before a step loads; 0: none.
        stops: numbers of layers before which the engine stops for the processor.
    """
    moved = np.concatenate([[0], np.cumsum(costs.ddr_bytes)])[np.cumsum(np.append(0, counts))].tolist()
    ends = ends_of(counts.tolist(), costs.rows(), waits.tolist(), moved[1:], stops, memory)
    timings: list[LayerTiming] = []
    started, begin = 0.0, 0
    for number, (name, count, end) in enumerate(zip(names, counts.tolist(), ends, strict=True)):
        part = slice(begin, begin := begin + count)
        ddr_bytes = moved[number + 1] - moved[number]
        memory_cycles = ddr_bytes / memory.bytes_per_cycle
        cycles, compute = end - started, int(costs.iterations[part].sum())
        waiting = max(memory_cycles, *(float(c[part].sum()) for c in (costs.weights, costs.fill, costs.store)))
        bound: Bound = (
            "compute" if compute >= max(waiting, cycles / 2) else "memory" if waiting >= cycles / 2 else "overhead"
        )
        timings.append(LayerTiming(name, round(end) - round(started), compute, round(memory_cycles), ddr_bytes, bound))
        started = end
    return timings
