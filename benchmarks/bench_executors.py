"""Seconds per image of the HLS C++ on this host, the interpreter and ONNX Runtime, interleaved, and their ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from benchmarks.networks import SMALL, network
from benchmarks.predicted import quantised
from proprune_cli.accel import interpret
from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.segments import run_segments
from proprune_cli.board.native import NativeEngine
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.qdq.export import to_qdq
from proprune_cli.compile.quantise.calibration import open_session

ROUNDS = 5
MEASURED = (*SMALL, network("resnet18-224"), network("mobilenetv2-224"))


def main() -> None:
    array, board = load_array("z7020-256"), load_board("pynq-z2")
    engine = NativeEngine(array)
    print(
        f"{'network':24} {'HLS C++ s':>10} {'interpreter s':>14} {'ORT int8 s':>11} {'C++/ORT':>8} {'interp/ORT':>10}"
    )
    for measured in MEASURED:
        graph = quantised(measured)
        program, _ = lower(graph, array, Memory.of(board, array))
        image = measured.images(1)
        codes = program.codes(image)[0]
        buffer = np.zeros(program.size, dtype=np.uint64)
        buffer[: program.image.size] = program.image
        session = open_session(to_qdq(graph).SerializeToString())
        name = session.get_inputs()[0].name

        def on_engine(program=program, buffer=buffer, codes=codes) -> None:
            buffer[program.input.address :][: program.input.words] = program.input.pack(codes)
            run_segments(
                program, buffer, lambda part: engine.run(buffer, part.layer_table, part.step_count, part.counters)
            )

        runs: dict[str, Callable[[], object]] = {
            "engine": on_engine,
            "interpreter": lambda program=program, codes=codes: interpret.run(program, codes),
            "ort": lambda session=session, name=name, image=image: session.run(None, {name: image}),
        }
        seconds: dict[str, list[float]] = {k: [] for k in runs}
        for _ in range(ROUNDS):
            for key, run in runs.items():
                start = time.perf_counter()
                run()
                seconds[key].append(time.perf_counter() - start)
        e, i, o = (median(seconds[k]) for k in ("engine", "interpreter", "ort"))
        print(f"{measured.name:24} {e:10.4f} {i:14.4f} {o:11.4f} {e / o:8.1f} {i / o:8.1f}")
