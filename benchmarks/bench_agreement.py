"""Output bytes in which ONNX Runtime and the HLS C++ differ from the interpreter, for every network of the zoo."""

from __future__ import annotations

import time
from math import prod

from benchmarks.networks import NETWORKS
from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from tests.executors import MEMORY, differing_bytes

IMAGES = 2


def main() -> None:
    print(f"{'network':24} {'bytes':>9}  differing, by executor")
    for network in NETWORKS:
        start = time.perf_counter()
        graph, _ = quantise(canonicalise(import_onnx(network.onnx_model())), network.images(4))
        program, _ = lower(graph, load_array("z7020-256"), MEMORY)
        differing = differing_bytes(graph, program, network.images(IMAGES, seed=7))
        shown = ", ".join(f"{name} {count}" for name, count in differing.items())
        compared = IMAGES * sum(prod(output.shape) for output in graph.outputs)
        print(f"{network.name:24} {compared:9d}  {shown}  ({time.perf_counter() - start:.0f} s)", flush=True)
