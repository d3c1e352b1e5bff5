"""Running whole programs, or the layers between two host steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.deadline import UNLIMITED, Deadline
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.layer import Counts, run_layer
from proprune_cli.accel.interpret.memory import Memory
from proprune_cli.accel.interpret.order import layers_of
from proprune_cli.accel.program import Program
from proprune_cli.accel.segments import Segment, run_segments
from proprune_cli.errors import BoardError, InputError


@dataclass(frozen=True)
class Interpretation:
    """What a run leaves.

    Attributes:
        outputs: int8 [channels, height, width] of each output.
        counters: columnar, one row per layer; the clock ticks are 0.
        buffer: uint64 [program.size], the whole DDR buffer afterwards.
    """

    outputs: tuple[NDArray[np.int8], ...]
    counters: isa.LayerCounters
    buffer: Words


def run(program: Program, x: NDArray[np.int8], seconds: float = UNLIMITED) -> Interpretation:
    """Run ``program`` on one image.

    Args:
        x: int8 [channels, height, width], codes of the program's input.
        seconds: after which the run stops, before a step.

    Raises:
        InputError: ``x`` has another shape or type, or the program is inconsistent.
        BoardError: the program was compiled for another version of the array, or the time is over.
    """
    shape = (program.input.channels, program.input.height, program.input.width)
    if x.dtype != np.int8 or x.shape != shape:
        raise InputError(
            f"the input is {x.dtype} {list(x.shape)}, the program takes int8 {list(shape)}",
            where="input",
            remedy="give one image's codes, channels first",
        )
    buffer = np.zeros(program.size, dtype=np.uint64)
    if program.image.size > program.size or program.input.address + program.input.words > program.size:
        raise Site("table").fault(f"image or input reach beyond the buffer of {program.size} words")
    buffer[: program.image.size] = program.image
    packed = program.input.pack(x)
    buffer[program.input.address : program.input.address + packed.size] = packed
    counters = run_buffer(program, buffer, Deadline(seconds))
    end = max(output.plane.address + output.plane.words for output in program.outputs)
    if end > program.size:
        raise Site("table").fault(f"the output ends at {end}, beyond the buffer of {program.size} words")
    return Interpretation(program.unpack_outputs(buffer), counters, buffer)


def run_buffer(program: Program, buffer: Words, deadline: Deadline | None = None) -> isa.LayerCounters:
    """Run ``program`` on a prepared DDR buffer (uint64 [program.size]), in place; counters are also written into it.

    Host steps run between the layers, by ONNX Runtime.

    Raises:
        InputError: the program is inconsistent.
        BoardError: the program was compiled for another version of the array, or the deadline has passed.
    """
    array = load_array(program.array)
    if program.digest != array.digest:
        raise BoardError(
            f"the program's contract digest {program.digest[:16]} is not the interpreter's {array.digest[:16]}",
            where=f"array {program.array}",
            remedy="compile the network again with this version of proprune",
        )
    _check_steps(program)
    counts: list[Counts] = []

    def run_layers(part: Segment) -> None:
        names = program.layer_names[part.first : part.first + part.layers]
        started = _Start(part.layer_table, part.step_count, part.counters)
        named = _Named(program.image.size, names, part.first)
        counts.extend(_execute(array, buffer, started, deadline or Deadline(), named))

    run_segments(program, buffer, run_layers)
    return isa.LayerCounters(
        **{
            name: np.array([asdict(c).get(name, 0) for c in counts], dtype=np.int64)
            for name in isa.LayerCounters.layout()
        }
    )


def _check_steps(program: Program) -> None:
    """Host steps stand in order between layers, and read and write tensors that lie behind image and counters."""
    tables = max(program.image.size, program.counters + program.layer_count * isa.LayerCounters.WORDS)
    done = 0
    site = Site("table")
    for number, step in enumerate(program.host_steps):
        if not done <= step.after <= program.layer_count:
            raise site.fault(f"host step {number} runs after {step.after} layers, the one before it after {done}")
        done = step.after
        for plane in (*step.inputs, step.output):
            if plane.address < tables or plane.address + plane.words > program.size:
                raise site.fault(
                    f"host step {number} has a tensor [{plane.address}, {plane.address + plane.words}) outside the "
                    f"tensors' memory [{tables}, {program.size})"
                )


class InterpreterEngine:
    """The interpreter behind the interface of an engine: a buffer and three registers."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def digest(self) -> int:
        """What the digest register reads: the first 32 bits of the contract digest."""
        return int(self._array.digest[:8], 16)

    def run(self, buffer: Words, layer_table: int, step_count: int, counters: int, seconds: float = UNLIMITED) -> int:
        """Run ``step_count`` steps, those of whole layers, on ``buffer`` (uint64, in place).

        Args:
            seconds: after which the run stops, before a step.

        Returns:
            Steps completed.

        Raises:
            InputError: the program is inconsistent. BoardError: the time is over.
        """
        _execute(self._array, buffer, _Start(layer_table, step_count, counters), Deadline(seconds), _Named())
        return step_count


@dataclass(frozen=True)
class _Start:
    """The registers with which the engine is started."""

    layer_table: int
    step_count: int
    counters: int


@dataclass(frozen=True)
class _Named:
    """What is known of a run's layers where they are a program's.

    Attributes:
        protected: words at the start of the buffer that no layer may write.
        names: of the layers; ``None``: their numbers. first: number of the first.
    """

    protected: int = 0
    names: tuple[str, ...] | None = None
    first: int = 0


def _execute(array: Array, buffer: Words, start: _Start, deadline: Deadline, named: _Named) -> list[Counts]:
    """Run the layers of a table, write their counters and return them."""
    names = named.names
    table_site = Site("table")
    if buffer.size > isa.ON_CHIP:
        raise table_site.fault(f"a buffer of {buffer.size} words is larger than addresses reach")
    memory = Memory(buffer, array.scratch_words)
    layers = layers_of(memory, start.layer_table, start.step_count, table_site)
    if names is not None and len(layers) != len(names):
        raise table_site.fault(f"{len(names)} layers are to run, but their steps are those of {len(layers)}")
    counter_end = start.counters + len(layers) * isa.LayerCounters.WORDS
    memory.read_only = ((0, named.protected), (start.counters, counter_end))
    memory.table(start.counters, counter_end - start.counters, table_site, "the counters")
    counted: list[Counts] = []
    done = 0
    # On a machine with other work, threads of one small product wait for each other far longer than they compute.
    with _blas().limit(limits=1, user_api="blas"):
        for index, layer in enumerate(layers):
            name = str(index) if names is None else names[index]
            counts = run_layer(array, layer, memory, done, Site(f"{named.first + index} {name!r}"), deadline)
            at = start.counters + index * isa.LayerCounters.WORDS
            buffer[at : at + isa.LayerCounters.WORDS] = isa.LayerCounters(**asdict(counts)).encode()[0]
            counted.append(counts)
            done += int(layer.step_count)
    return counted


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
