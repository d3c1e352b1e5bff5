"""The timing model: cycles of each layer from the engine's loops and the board's memory. All it says is *predicted*.

It walks the same steps as the hardware. Each step is loaded, computed and stored, side by side with others, joined by
double buffers and FIFOs. Assumptions, each a named constant of `step_costs` or `walk`, or a field of `Memory`:

- the accumulate loop has an initiation interval of 1, and ``STEP_RESTART`` cycles pass between two steps;
- the bank fill writes one cell of one channel group per cycle, padding included, while the step before computes; the
  fetch before it moves one word per cycle, and asks ahead for up to ``BURSTS_UNDER_WAY`` bursts (one per group when the
  tile spans whole rows that follow one another in DDR, else one per row): a tile pays a read latency where it waited
  for others, and short rows one for each so many;
- sums leave the array with the last beats of their block, and the requantiser one word per cycle, ``DRAIN`` cycles
  later and ``BLOCK_PAUSE`` between blocks. The array waits where the queue behind it is full, and that one for stores;
- stores move one word per cycle; where pixels are not neighbours in DDR, ``BURSTS_UNDER_WAY`` words in a latency;
- weights and residual operands stream at a beat per cycle; of the weights a queue is read ahead, in all steps. The
  first residual operand comes two latencies after it may be read, since its address is read before;
- all ports share the planned bandwidth of DDR. Those that want it at the same time get like shares, so that loads,
  stores and weights slow each other down where a word each is more than DDR moves in a cycle; and nothing is loaded,
  computed or stored before DDR could have moved it with all that came before;
- a word that is not read or written together with its neighbour costs DDR a burst of ``DDR_BURST_BYTES``;
- planes of the engine's own memory cost no DDR traffic, and ``ON_CHIP_LATENCY`` instead of a read latency;
- descriptors, tables and planes' addresses of a step are read while the steps before it are at work, all at once and
  with the descriptor that comes next, three steps ahead of the load at most. A step loads once the one it depends on
  has been stored, one latency for the write's response included.

docs/timing-model.md has what it predicts beside cycles that were counted in a simulation of the RTL.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.program import Program
from proprune_cli.accel.step_costs import StepCosts, limits
from proprune_cli.accel.walk import Limits, StepRow, walk

MODEL = "proprune loop model 5"
"""Name under which its figures are reported."""

Bound = Literal["compute", "memory", "overhead"]


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


def estimate(program: Program, array: Array, memory: Memory) -> Timing:
    """Predict every layer of an encoded program, one after the other as the engine runs them."""
    layers = program.layers()
    counts = np.asarray(layers.step_count)
    steps = program.all_steps(layers)
    columns = {name: np.repeat(np.asarray(getattr(layers, name)), counts) for name in layers.layout()}
    per_step = isa.LayerDescriptor(**columns)
    stops = tuple(step.after for step in program.host_steps)
    on_chip = _on_chip_groups(program, layers, counts, steps)
    costs = StepCosts.of(per_step, steps, counts, array, memory, on_chip, _last_steps(counts, stops))
    depends = np.asarray(steps.depends)
    waits = np.where(depends > 0, depends, isa.STEPS_IN_FLIGHT)
    return Timing(tuple(chain(program.layer_names, counts, costs, waits, stops, array, memory)), memory.clock_mhz)


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
    on_chip, last = np.concatenate(on_chip_groups), _last_steps(counts, stops)
    costs = StepCosts.of(per_step, columns, counts, array, memory, on_chip, last)
    distance = np.concatenate(depends)
    waits = np.where(distance > 0, distance, isa.STEPS_IN_FLIGHT)
    return Timing(tuple(chain(names, counts, costs, waits, stops, array, memory)), memory.clock_mhz)


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


def _last_steps(counts: NDArray[np.int64], stops: tuple[int, ...]) -> NDArray[np.int64]:
    """The last step of each run of the engine, int64 [runs]."""
    ends = np.cumsum(counts)
    return ends[np.unique([*(n - 1 for n in stops if 0 < n < len(ends)), len(ends) - 1])] - 1


def ends_of(
    counts: Sequence[int], rows: Sequence[StepRow], waits: Sequence[int], stops: Collection[int], common: Limits
) -> list[float]:
    """Cycles at which each layer of a program ends.

    Args:
        counts: steps of each. rows: what each step takes. waits, stops, common: as in `chain`.
    """
    ends = np.cumsum(counts)
    done = walk(rows, waits, {int(ends[n - 1]) for n in stops if n > 0}, common)
    return [done[n - 1] for n in ends.tolist()]


def chain(
    names: tuple[str, ...],
    counts: NDArray[np.int64],
    costs: StepCosts,
    waits: NDArray[np.int64],
    stops: tuple[int, ...],
    array: Array,
    memory: Memory,
) -> list[LayerTiming]:
    """Chain the steps of layers: loads, computations and stores overlap as double buffers and waits allow.

    Args:
        waits: steps back to the latest one that must be complete before a step loads; 0: none.
        stops: numbers of layers before which the engine stops for the processor.
    """
    moved = np.concatenate([[0], np.cumsum(costs.ddr_bytes)])[np.cumsum(np.append(0, counts))].tolist()
    ends = ends_of(counts.tolist(), costs.rows(), waits.tolist(), stops, limits(array, memory))
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
