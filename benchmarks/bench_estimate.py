"""Cycles from layer shapes alone against the timing model on the compiled network, and the time that each takes."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np

from benchmarks.networks import LARGE, SMALL
from benchmarks.predicted import quantised
from proprune_cli.accel import estimate as shapes
from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.accel.timing import Memory, estimate
from proprune_cli.compile.lower.weight_stream import TiledLayer
from proprune_cli.compile.pipeline import lower
from proprune_cli.work.layer import LayerWork


def works_of(layers: tuple[TiledLayer, ...]) -> list[LayerWork]:
    """The layers' work, as pruning would count it before they are compiled."""
    works: list[LayerWork] = []
    for tiled in layers:
        work = tiled.layer.work
        # A depthwise layer whose channels lie scattered over groups is compiled as a sparse dense one.
        positions = math.prod(work.out_size) * math.prod(work.kernel)
        scattered = work.unit == "dense" and work.in_channels > 1 and work.macs <= positions * work.out_channels
        works.append(replace(work, groups=work.in_channels) if scattered else work)
    return works


def main() -> None:
    array, board = load_array("z7020-256"), load_board("pynq-z2")
    memory = Memory.of(board, array)
    print(f"{'network':24} {'compiled':>10} {'by shapes':>10} {'error':>7} {'walk ms':>8} {'shapes ms':>9}")
    errors: list[float] = []
    for network in (*SMALL, *LARGE):
        program, layers = lower(quantised(network), array, memory)
        columns = shapes.Shapes.of(works_of(layers))
        start = time.perf_counter()
        walked = estimate(program, array, memory).cycles
        middle = time.perf_counter()
        quick = int(shapes.estimate_cycles(columns, array, memory).sum())
        end = time.perf_counter()
        errors.append(abs(quick / walked - 1))
        print(
            f"{network.name:24} {walked:10d} {quick:10d} {quick / walked - 1:7.1%} {(middle - start) * 1e3:8.2f} "
            f"{(end - middle) * 1e3:9.3f}",
            flush=True,
        )
    print(f"mean error {np.mean(errors):.1%}, largest {np.max(errors):.1%}")
