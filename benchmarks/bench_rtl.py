"""Cycles of the simulated RTL against the timing model: whole networks and layers, on arrays and memories.

    python -m benchmarks rtl [--write] [--network resnet20-32] [--array z7020-256] [--layers]
    python -m benchmarks rtl --random 200

`--random` runs random networks instead, behind random memories, and compares their bytes with the C++ engine's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from numpy.typing import NDArray

from benchmarks.bench_guided import changed
from benchmarks.bench_pruned import quantised as quantised_module
from benchmarks.networks import network
from benchmarks.predicted import quantised
from proprune_cli import pages
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import Timing, estimate
from proprune_cli.board.rtl import RtlEngine, SimulatedMemory
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import ProPruneError
from proprune_cli.ir.quantized import QGraph
from proprune_cli.nets.models import build_model
from tests.differential.free_networks import FreeResNet, clustered, exported, settled
from tests.executors import run_native
from tests.rtl_runs import run_rtl
from tests.strategies import random_network

ARRAYS = ("z7020-256", "z7020-384")
MEMORIES = {"planned": (1.4, 300.0), "slow": (0.7, 600.0), "fast": (2.4, 150.0)}
"""GB/s of all ports together, and ns of latency: as the board's file plans it, half as good, and better."""
LONG = 2000
"""Cycles from which on a layer is compared by itself."""
PAGE = "docs/timing-model.md"
START, END = "<!-- made by `python -m benchmarks rtl --write` -->", "<!-- end -->"


def _free() -> QGraph:
    model = settled(FreeResNet(clustered, (32, 64)), 32)
    images = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    return quantise(canonicalise(import_onnx(exported(model, 32, dynamo=False))), images)[0]


def _sparse(*, binary: bool) -> QGraph:
    torch.manual_seed(0)
    return quantised_module(changed(build_model("resnet20", 3, 10, 32), guided=True, binary=binary), 32)


NETWORKS: dict[str, tuple[Callable[[], QGraph], int]] = {
    **{
        name: (lambda name=name: quantised(network(name)), 1)
        for name in ("lenet5-28", "resnet8-32", "resnet20-32", "mobilenetv2-32", "squeezenet-32", "densenet40-32",
                     "shufflenetv2-32", "unet-32", "resnet18-32")
    },
    "resnet8-32, 4 images": (lambda: quantised(network("resnet8-32")), 4),
    "resnet20-32, guided": (lambda: _sparse(binary=False), 1),
    "resnet20-32, guided, 1 bit": (lambda: _sparse(binary=True), 1),
    "free branches": (_free, 1),
}  # fmt: skip
"""What they are made of, and images per start."""


def compare(name: str, graph: QGraph, array: Array, batch: int) -> Iterator[tuple[str, Timing, NDArray[np.int64], int]]:
    """(memory, prediction, cycles of each layer by RTL, of the whole start) of one network.

    Raises:
        AssertionError: the RTL's bytes are not those of the C++ engine.
    """
    program, _ = lower(graph, array, Memory.planned(*MEMORIES["planned"], array.clock_mhz), batch)
    tensor = program.input
    codes = np.random.default_rng(0).integers(-128, 128, (tensor.channels, tensor.height, tensor.width))
    expected, _ = run_native(program, codes.astype(np.int8))
    for memory, (bandwidth, latency) in MEMORIES.items():
        planned = Memory.planned(bandwidth, latency, array.clock_mhz)
        engine = RtlEngine(array, SimulatedMemory(planned.bytes_per_cycle, round(planned.latency)))
        got, counters, cycles = run_rtl(program, codes.astype(np.int8), engine)
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True)), f"{name} differs"
        yield memory, estimate(program, array, planned), np.asarray(counters.cycles), cycles


def table(names: Sequence[str], arrays: Sequence[str], *, layers: bool = False) -> list[str]:
    """Rows of Markdown, printed as they are made, and below them how far off networks and layers are by memory."""
    rows: list[str] = []
    off: dict[str, list[float]] = {memory: [] for memory in MEMORIES}
    layers_off: dict[str, list[float]] = {memory: [] for memory in MEMORIES}

    def say(row: str) -> None:
        rows.append(row)
        print(row, flush=True)

    say("| network | array | memory | cycles, RTL | loop model | off | worst layer above 2,000 cycles |")
    say("|---|---|---|---:|---:|---:|---|")
    for name in names:
        make, batch = NETWORKS[name]
        graph = make()
        for array in map(load_array, arrays):
            for memory, timing, counted, cycles in compare(name, graph, array, batch):
                offs = [
                    (layer.cycles / max(int(c), 1) - 1, layer.name)
                    for layer, c in zip(timing.layers, counted, strict=True)
                    if max(layer.cycles, int(c)) > LONG
                ]
                off[memory].append(abs(timing.cycles / cycles - 1))
                layers_off[memory].extend(abs(o) for o, _ in offs)
                worst, where = max(offs, key=lambda o: abs(o[0]), default=(0.0, ""))
                say(
                    f"| {name} | {array.name} | {memory} | {cycles:,} | {timing.cycles:,} | "
                    f"{timing.cycles / cycles - 1:+.1%} | {worst:+.1%} {where} |"
                )
                if layers:
                    for layer, c in zip(timing.layers, counted, strict=True):
                        print(f"    {layer.name:40} {c:8} {layer.cycles:8} {layer.cycles / max(int(c), 1) - 1:+.1%}")
    say("")
    say("| memory | networks | mean | largest | layers above 2,000 cycles | within 5 % | within 10 % |")
    say("|---|---:|---:|---:|---:|---:|---:|")
    for memory in MEMORIES:
        some, parts = np.array(off[memory]), np.array(layers_off[memory])
        within = [f"{np.mean(parts <= share):.1%}" for share in (0.05, 0.1)]
        say(f"| {memory} | {len(some)} | {some.mean():.2%} | {some.max():.2%} | {len(parts)} | {' | '.join(within)} |")
    return rows


def random_networks(count: int, start: int) -> int:
    """Run ``count`` random networks behind random memories; how many differed."""
    rng = np.random.default_rng(start)
    array = load_array(ARRAYS[0])
    found = {"same": 0, "refused": 0, "wrong": 0}
    off: list[float] = []

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(random_network(grouped=True))
    def one(case: tuple[onnx.ModelProto, NDArray[np.float32]]) -> None:
        model, images = case
        memory = SimulatedMemory(
            float(rng.uniform(2, 40)), int(rng.integers(1, 150)), int(rng.choice([8, 8, *range(1, 8)])),
            refresh_every=int(rng.choice([0, 780])), refresh_cycles=26, stall=float(rng.choice([0, 0, 0.1, 0.5])),
            seed=int(rng.integers(1, 1 << 30)),
        )  # fmt: skip
        try:
            graph, _ = quantise(canonicalise(import_onnx(model)), images)
            program, _ = lower(graph, array, Memory.planned(*MEMORIES["planned"], array.clock_mhz))
        except ProPruneError:
            found["refused"] += 1
            return
        (codes,) = program.codes(images[:1])
        expected, _ = run_native(program, codes)
        got, _, cycles = run_rtl(program, codes, RtlEngine(array, memory))
        if memory.outstanding == 8 and not memory.stall and not memory.refresh_every and cycles > LONG:
            like = Memory(memory.bytes_per_cycle, float(memory.latency), array.clock_mhz)
            off.append(estimate(program, array, like).cycles / cycles - 1)
        found["same" if all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True)) else "wrong"] += 1

    begin = time.perf_counter()
    one()
    print(f"{found} in {time.perf_counter() - begin:.0f} s", flush=True)
    if off:
        low, middle, high = np.percentile(off, [5, 50, 95])
        print(f"loop model, of {len(off)} above {LONG} cycles: median {middle:+.1%}, 90 % {low:+.1%} to {high:+.1%}")
    return found["wrong"]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks rtl", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE}")
    parser.add_argument("--network", action="append", choices=list(NETWORKS))
    parser.add_argument("--array", action="append", choices=ARRAYS)
    parser.add_argument("--layers", action="store_true", help="every layer too")
    parser.add_argument("--random", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(list(arguments))
    if asked.random:
        sys.exit(1 if random_networks(asked.random, asked.seed) else 0)
    rows = table(asked.network or list(NETWORKS), asked.array or ARRAYS, layers=asked.layers)
    if asked.write:
        path = pages.ROOT / PAGE
        text = path.read_text(encoding="utf-8")
        before, after = text.split(START)[0], text.split(END)[1]
        path.write_text(f"{before}{START}\n\n" + "\n".join(rows) + f"\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
