"""What the schedule gains: cycles without overlap of layers, with it, with tensors on chip; depthwise taps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.networks import Network, network
from benchmarks.predicted import quantised
from proprune_cli.accel import isa
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.program import Program
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.lower.weight_stream import TiledLayer
from proprune_cli.compile.pipeline import lower
from proprune_cli.ir.quantized import QGraph

NAMES = ("resnet20-32", "densenet40-32", "mobilenetv2-32", "shufflenetv2-224", "mobilenetv2-224", "resnet18-224")


def without_overlap(program: Program) -> Program:
    """The same program in which a layer's first step waits for the last one of the layer before."""
    image = program.image.copy()
    layers = program.layers()
    for table, count in zip(
        np.asarray(layers.step_table).tolist(), np.asarray(layers.step_count).tolist(), strict=True
    ):
        words = image[table : table + count * isa.StepDescriptor.WORDS]
        steps = isa.StepDescriptor.decode(words)
        # The steps after the first one load when it has loaded, as they do anyway.
        depends = np.minimum(np.arange(count) + 1, isa.STEPS_IN_FLIGHT) % isa.STEPS_IN_FLIGHT
        words[:] = replace(steps, depends=depends).encode().reshape(-1)
    return replace(program, image=image)


def depthwise(layers: tuple[TiledLayer, ...]) -> tuple[int, int]:
    """Cycles that the array multiplies in depthwise layers: with one kernel position per tap, and as compiled."""
    naive = compiled = 0
    for tiled in layers:
        kernel = tiled.layer.window.kernel[0] * tiled.layer.window.kernel[1]
        if tiled.layer.kind == "diagonal" and kernel > 1 and np.prod(tiled.layer.size) > 1:
            iterations = int(np.sum(tiled.tiling.steps.iterations))
            taps = sum(unit.served.taps for row in tiled.taps.units for unit in row)
            compiled += iterations
            naive += iterations * kernel * tiled.taps.layout.chunks // taps
    return naive, compiled


def row(name: str, graph: QGraph, array: Array) -> str:
    board = next(b for b in map(load_board, board_names()) if b.part == array.part)
    memory = Memory.of(board, array)
    in_ddr, layers = lower(graph, replace(array, scratch_words=0), memory)
    program, _ = lower(graph, array, memory)
    serial = estimate(without_overlap(in_ddr), array, memory).cycles
    overlapped = estimate(in_ddr, array, memory).cycles
    chosen = estimate(program, array, memory)
    naive, compiled = depthwise(layers)
    gain = f"{naive / compiled:8.2f}x" if compiled else f"{'':9}"
    return (
        f"{name:20} {array.name:10} {serial:10d} {overlapped:10d} {serial / overlapped:6.3f}x {chosen.cycles:10d} "
        f"{serial / chosen.cycles:6.3f}x {chosen.ddr_bytes / 1e6:8.2f} {gain}"
    )


def main(networks: tuple[Network, ...] = tuple(network(name) for name in NAMES)) -> None:
    print(
        f"{'network':20} {'array':10} {'serial':>10} {'overlap':>10} {'gain':>7} {'+ on chip':>10} {'gain':>7} "
        f"{'DDR MB':>8} {'depthwise':>9}"
    )
    for net in networks:
        graph = quantised(net)
        for array in array_names():
            print(row(net.name, graph, load_array(array)), flush=True)


if __name__ == "__main__":
    main()
