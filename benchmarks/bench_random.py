"""Random networks on every array, in batches and with steps of the host: differing bytes and refusals.

    python -m benchmarks.bench_random --count 10000 --seed 0 --processes 16

Networks are those that the tests draw. Each is compiled for an array and for one to four images per start, and four
things are compared: the imported network with the file in ONNX Runtime (float), ONNX Runtime on the QDQ model with the
interpreter, the HLS C++ with the interpreter, and a batch with its images alone (bytes). What is refused is listed by
its text, so that somebody can see whether it should have been.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from proprune_cli.accel import interpret
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.accel.program import stack, unstack
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session, run_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import ProPruneError
from tests.executors import MEMORY, differing_bytes, run_native
from tests.strategies import random_network

CHUNK = 50
"""Networks of one seed: what a process takes at a time."""

FLOAT_ERROR = 1e-3
"""Of the largest output: what reordered float32 sums may differ by."""


@dataclass
class Tally:
    """What one chunk came to: networks by how they ran, and whatever was not as it should be, by its text."""

    agreed: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    def add(self, other: Tally) -> None:
        self.agreed += other.agreed
        self.refused += other.refused
        self.wrong += other.wrong


def check(model: onnx.ModelProto, images: NDArray[np.float32], array: str, batch: int) -> Iterator[str]:
    """What differs, one line each.

    Raises:
        ProPruneError: the network is refused.
    """
    imported = import_onnx(model)
    graph = canonicalise(imported)
    expected = run_session(open_session(model.SerializeToString()), None, {"x": images[:1]})
    if imported.host_tail is None:
        for output, want, got in zip(graph.outputs, expected, calibrate(graph, images[:1]).outputs, strict=True):
            error = np.abs(got.reshape(want.shape) - want).max(initial=0.0)
            if error > FLOAT_ERROR * max(np.abs(want).max(initial=0.0), 1e-3):
                yield f"float {output.name} is off by {error:.3g}"
    quantised, _ = quantise(graph, images)
    single, _ = lower(quantised, load_array(array), MEMORY)
    chosen = np.concatenate([images, images[:1] * 3])
    for name, count in differing_bytes(quantised, single, chosen).items():
        if count:
            yield f"{name}: {count} bytes"
    if batch == 1:
        return
    program, _ = lower(quantised, load_array(array), MEMORY, batch)
    codes = single.codes(chosen[:batch])
    alone = [interpret.run(single, x).outputs for x in codes]
    interpreted, (native, _) = interpret.run(program, stack(codes)).outputs, run_native(program, stack(codes))
    for name, outputs in (("interpreter", interpreted), ("C++", native)):
        for number, got in enumerate(outputs):
            count = int((unstack(got, batch) != np.stack([one[number] for one in alone])).sum())
            if count:
                yield f"{name}, batch of {batch}: {count} bytes"


def chunk(number: int) -> Tally:
    """Check the ``CHUNK`` networks of one seed."""
    tally = Tally()

    @seed(number)
    @settings(
        max_examples=CHUNK,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(random_network(grouped=True), st.sampled_from(array_names()), st.integers(1, 4))
    def run(case: tuple[onnx.ModelProto, NDArray[np.float32]], array: str, batch: int) -> None:
        model, images = case
        what = f"seed {number}, {array}, batch {batch}, {' '.join(node.op_type for node in model.graph.node)}"
        try:
            faults = list(check(model, images, array, batch))
        except ProPruneError as error:
            tally.refused[f"{type(error).__name__}: {error.what}"] += 1
            return
        except Exception as error:  # noqa: BLE001 - whatever else comes out is a fault, and the others go on
            faults = [f"{type(error).__name__}: {error}"]
        tally.agreed[array] += not faults
        tally.wrong += [f"{what}: {fault}" for fault in faults]

    run()
    return tally


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=400, help="networks, rounded up to whole chunks")
    parser.add_argument("--seed", type=int, default=0, help="of the first chunk")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments or [])
    start, total = time.perf_counter(), Tally()
    seeds = range(options.seed, options.seed - -options.count // CHUNK)
    with ProcessPoolExecutor(options.processes) as pool:
        for done, tally in enumerate(pool.map(chunk, seeds), 1):
            total.add(tally)
            for line in tally.wrong:
                print(f"WRONG {line}", flush=True)
            if done % 20 == 0:
                print(f"{done * CHUNK} networks, {time.perf_counter() - start:.0f} s", flush=True)
    print(f"agreed: {sum(total.agreed.values())} ({dict(total.agreed)}); wrong: {len(total.wrong)}")
    print(f"refused: {sum(total.refused.values())}")
    for text, count in total.refused.most_common(40):
        print(f"  {count:5} {text}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
