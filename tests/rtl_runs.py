"""Runs a program on the simulated RTL, without a board around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.program import Program
from proprune_cli.accel.segments import Segment, run_segments
from proprune_cli.board.rtl import RtlEngine

Codes = NDArray[np.int8]


def run_rtl(program: Program, x: Codes, engine: RtlEngine) -> tuple[tuple[Codes, ...], isa.LayerCounters, int]:
    """Codes of each output, counters, and cycles of all starts, for one image of codes."""
    buffer = np.zeros(program.size, dtype=np.uint64)
    buffer[: program.image.size] = program.image
    buffer[program.input.address :][: program.input.words] = program.input.pack(x)
    before = engine.cycles

    def run_layers(part: Segment) -> None:
        done = engine.run(buffer, part.layer_table, part.step_count, part.counters, 600.0)
        assert done == part.step_count

    run_segments(program, buffer, run_layers)
    words = program.layer_count * isa.LayerCounters.WORDS
    counters = isa.LayerCounters.decode(buffer[program.counters :][:words])
    return program.unpack_outputs(buffer), counters, engine.cycles - before
