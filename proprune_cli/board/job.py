"""A program as the driver on a board takes it: where everything lies, and what the processor computes in between.

Whatever runs the driver, or stands in for it, gets its job from here: the emulated board, an agent on a real one, a
simulation of the engine.
"""

from __future__ import annotations

from proprune_cli.accel import isa
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.program import Plane, Program
from proprune_cli.accel.segments import run_host_step, segments
from proprune_cli.board.agent import driver

REGISTERS = {r.name: (r.offset, r.width) for r in isa.REGISTERS}
"""Byte offset and width in bits of each register of the engine."""


def job_of(program: Program, seconds: float) -> driver.Job:
    """Addresses and lengths, in words, of a program that was accepted.

    Args:
        seconds: in which the engine must be done with each range.
    """
    return driver.Job(
        size=program.size,
        ranges=_ranges(program),
        layer_count=program.layer_count,
        counters=program.counters,
        counter_words=isa.LayerCounters.WORDS,
        input_address=program.input.address,
        input_words=program.input.words,
        outputs=tuple(_place(output.plane) for output in program.outputs),
        seconds=seconds,
    )


def host_call(program: Program) -> driver.HostCall:
    """The host steps, by number, for the driver, which knows nothing of ONNX."""

    def compute(number: int, words: list[Words]) -> Words:
        return run_host_step(program.host_steps[number], tuple(words), program.batch)

    return compute


def _ranges(program: Program) -> tuple[driver.Range, ...]:
    return tuple(
        driver.Range(
            s.layer_table,
            s.step_count,
            s.counters,
            tuple(driver.HostTensors(tuple(map(_place, step.inputs)), _place(step.output)) for step in s.host_steps),
        )
        for s in segments(program)
    )


def _place(plane: Plane) -> tuple[int, int]:
    return plane.address, plane.words
