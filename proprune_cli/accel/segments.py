"""A program as the ranges of layers between which the processor computes: the one place that knows their order.

The engine runs any range of the layer table: it is rung once per range, and knows nothing of what happens in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.host import run_host_model
from proprune_cli.accel.program import HostStep, Program, stack, unstack


@dataclass(frozen=True)
class Segment:
    """Layers that run without a stop, and what the processor computes after them.

    Attributes:
        first: number of the first layer. layers: how many; may be 0, and then the engine is not rung.
        step_count: steps of the engine that these layers have together.
        layer_table, counters: addresses of this range's descriptors and counters.
        host_steps: in order.
    """

    first: int
    layers: int
    step_count: int
    layer_table: int
    counters: int
    host_steps: tuple[HostStep, ...]


def segments(program: Program) -> tuple[Segment, ...]:
    """The whole program; without host steps one segment."""
    stops = sorted({step.after for step in program.host_steps})
    if not stops or stops[-1] < program.layer_count:
        stops.append(program.layer_count)
    counts = np.asarray(program.layers().step_count)
    return tuple(
        Segment(
            first,
            last - first,
            int(counts[first:last].sum()),
            program.layer_table + first * isa.LayerDescriptor.WORDS,
            program.counters + first * isa.LayerCounters.WORDS,
            tuple(step for step in program.host_steps if step.after == last),
        )
        for first, last in zip([0, *stops], stops, strict=False)
    )


def run_segments(program: Program, buffer: Words, run_layers: Callable[[Segment], None]) -> None:
    """Run ``program`` on ``buffer`` (uint64, in place): its layers by ``run_layers``, and the host steps between.

    Raises:
        InputError: ONNX Runtime refuses a host step. Also whatever ``run_layers`` raises.
    """
    for segment in segments(program):
        if segment.layers:
            run_layers(segment)
        for step in segment.host_steps:
            read = tuple(buffer[plane.address : plane.address + plane.words] for plane in step.inputs)
            buffer[step.output.address : step.output.address + step.output.words] = run_host_step(
                step, read, program.batch
            )


def run_host_step(step: HostStep, words: tuple[Words, ...], batch: int) -> Words:
    """What a host step writes, uint64 [output words], from what it reads, uint64 [words of each input].

    The ``batch`` images, below one another in the tensors, go through the model one by one.

    Raises:
        InputError: ONNX Runtime refuses the model, or the model gives something else than the output's codes.
    """
    codes = tuple(plane.unpack(part.copy()) for plane, part in zip(step.inputs, words, strict=True))
    shape = (step.output.channels, step.output.height // batch, step.output.width)
    where = f"host step {step.name!r} ({', '.join(step.operators)})"
    images = zip(*(unstack(part, batch) for part in codes), strict=True)
    results = [run_host_model(step.model, image, shape, where) for image in images]
    return step.output.pack(stack(np.stack(results)))
