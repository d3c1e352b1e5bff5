"""Runs one quantised network on every executor and compares bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.program import Program, to_codes
from proprune_cli.accel.segments import Segment, run_segments
from proprune_cli.board.native import NativeEngine
from proprune_cli.compile.qdq.export import to_qdq
from proprune_cli.compile.quantise.calibration import open_session, run_session
from proprune_cli.ir.quantized import QGraph

MEMORY = Memory.planned(bandwidth_gb_s=1.4, latency_ns=300, clock_mhz=100)

Codes = NDArray[np.int8]


def run_native(program: Program, x: Codes) -> tuple[tuple[Codes, ...], isa.LayerCounters]:
    """Codes of each output and counters of the compiled C++ engine for one image of codes."""
    buffer = np.zeros(program.size, dtype=np.uint64)
    buffer[: program.image.size] = program.image
    buffer[program.input.address :][: program.input.words] = program.input.pack(x)
    engine = NativeEngine(load_array(program.array))

    def run_layers(part: Segment) -> None:
        assert engine.run(buffer, part.layer_table, part.step_count, part.counters) == part.step_count

    run_segments(program, buffer, run_layers)
    words = program.layer_count * isa.LayerCounters.WORDS
    counters = isa.LayerCounters.decode(buffer[program.counters :][:words])
    return program.unpack_outputs(buffer), counters


def run_onnxruntime(graph: QGraph, images: NDArray[np.float32], *, optimise: bool) -> Codes:
    """Output codes of ONNX Runtime on the QDQ model, int8 [N, elements of all outputs]."""
    session = open_session(to_qdq(graph).SerializeToString(), optimise=optimise, threads=1)
    exponents = [graph.tensors[output.tensor].exponent for output in graph.outputs]
    answers = [run_session(session, None, {graph.input: image[None]}) for image in images]
    return np.stack([_flat([to_codes(r, e) for r, e in zip(reals, exponents, strict=True)]) for reals in answers])


def differing_bytes(graph: QGraph, program: Program, images: NDArray[np.float32]) -> dict[str, int]:
    """Output bytes in which each executor differs from the interpreter, summed over the images."""
    codes = program.codes(images)
    expected = np.stack([_flat(interpret.run(program, x).outputs) for x in codes])
    others = {
        "HLS C++": np.stack([_flat(run_native(program, x)[0]) for x in codes]),
        "ONNX Runtime, optimised": run_onnxruntime(graph, images, optimise=True),
        "ONNX Runtime, as written": run_onnxruntime(graph, images, optimise=False),
    }
    return {name: int((got != expected).sum()) for name, got in others.items()}


def _flat(outputs: Sequence[Codes]) -> Codes:
    return np.concatenate([codes.reshape(-1) for codes in outputs])
