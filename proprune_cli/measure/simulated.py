"""What an artifact takes in the simulated engine: one image runs through its RTL, and its cycles are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.timing import Timing
from proprune_cli.artifact import Artifact
from proprune_cli.board.emulated import EmulatedBoard
from proprune_cli.board.rtl import RtlEngine, SimulatedMemory
from proprune_cli.errors import BoardError
from proprune_cli.measure.predicted import predict
from proprune_cli.measure.records import BenchRecord


def simulate(artifact: Artifact, label: str, board: Board, array: Array) -> BenchRecord:
    """Figures of one image, or of a batch, that ran through the RTL behind a modelled memory; energy is predicted.

    Args:
        label: the artifact's file name.
        board: whose memory is modelled.

    Raises:
        BoardError: nothing can be simulated here, or the engine's answer is not the artifact's.
        InputError: the artifact's program may not run.
    """
    memory = SimulatedMemory.of(board, array)
    engine = RtlEngine(array, memory)
    session = EmulatedBoard(board, array, engine, "rtl")
    session.load(artifact.program)
    result = session.run(artifact.golden.codes_in)
    if any((a != b).any() for a, b in zip(result.outputs, artifact.golden.codes_out, strict=True)):
        raise BoardError(
            "the simulated engine gives other bytes than the artifact's example",
            where=label,
            remedy="this is a fault of rtl/ or of the artifact; `proprune run --board emulated:…` tells which",
        )
    counters = result.counters
    if counters is None:
        raise AssertionError("an engine ran")
    cycles: list[int] = np.asarray(counters.cycles).tolist()
    cycles[-1] += engine.cycles - sum(cycles)  # until the last response of memory, and the starts between host steps

    def counted(timing: Timing) -> Timing:
        layers = [replace(layer, cycles=c) for layer, c in zip(timing.layers, cycles, strict=True)]
        return replace(timing, layers=tuple(layers), model=engine.name)

    record = predict(artifact, label, board, array, counted)
    note = (
        f"simulated memory: {memory.bytes_per_cycle:g} bytes per cycle for all ports, {memory.latency} cycles of "
        f"latency, {memory.outstanding} bursts under way on a port; an assumption, no board was measured"
    )
    return replace(record, notes=(*record.notes, note))
