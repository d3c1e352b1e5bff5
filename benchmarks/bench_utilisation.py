"""Predicted cycles and MAC utilisation of every network on every array, and the prune efficiency of resnet18."""

from __future__ import annotations

import time

from benchmarks.networks import NETWORKS, PRUNED, Network
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.timing import Memory, estimate
from proprune_cli.compile.frontend import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise import quantise
from proprune_cli.ir.quantized import QGraph


def quantised(network: Network) -> QGraph:
    graph = canonicalise(import_onnx(network.onnx_model()))
    return quantise(graph, network.images(2))[0]


def main() -> None:
    graphs = {n: quantised(n) for n in (*NETWORKS, PRUNED)}
    by_part = {load_board(name).part: name for name in board_names()}
    heads = ("network", "array", "board", "cycles", "ms", "MMAC", "utilised", "schedule s")
    print("{:24} {:10} {:8} {:>10} {:>8} {:>7} {:>9} {:>10}".format(*heads))
    figures: dict[tuple[str, str], tuple[int, int]] = {}
    for array_name in array_names():
        array = load_array(array_name)
        board = load_board(by_part[array.part])
        for n, graph in graphs.items():
            start = time.perf_counter()
            program, layers = lower(graph, array, Memory.of(board, array))
            seconds = time.perf_counter() - start
            timing = estimate(program, array, Memory.of(board, array))
            macs = sum(t.layer.macs for t in layers)
            figures[array_name, n.spec] = (timing.cycles, macs)
            print(
                f"{n.name:24} {array_name:10} {board.name:8} {timing.cycles:10d} {timing.latency_ms:8.3f} "
                f"{macs / 1e6:7.1f} {macs / timing.cycles / array.macs_per_cycle:9.1%} {seconds:10.2f}"
            )
    for array_name in array_names():
        (dense, dense_macs), (pruned, macs) = figures[array_name, "resnet18"], figures[array_name, PRUNED.spec]
        print(
            f"{array_name}: resnet18 at half its channels: {dense_macs / macs:.2f}x fewer operations, "
            f"{dense / pruned:.2f}x faster, prune efficiency {dense / pruned / (dense_macs / macs):.3f}"
        )
