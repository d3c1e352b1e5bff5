"""ONNX Runtime on this host: the artifact's own QDQ model, as an executor and as a measured latency."""

from __future__ import annotations

import os
import platform
import time
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from proprune_cli.accel.program import stack, to_real, unstack
from proprune_cli.artifact import Artifact
from proprune_cli.artifact.codes import quantise_images
from proprune_cli.errors import InputError
from proprune_cli.measure.records import BenchRecord

WARM_UP = 5
MIN_REPETITIONS = 30
MIN_SECONDS = 0.5
MAX_SECONDS = 10.0


class CpuExecutor:
    """Runs the QDQ model. Its int8 codes are those of the engine: the arithmetic is the same by construction.

    Args:
        optimise: ONNX Runtime's graph optimisation; the bytes do not depend on it.
        threads: threads of one operator; 0: as many as there are cores.
    """

    name = "cpu"

    def __init__(self, artifact: Artifact, *, optimise: bool = True, threads: int = 1) -> None:
        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(artifact.qdq, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own, unrelated classes
            raise InputError(
                f"ONNX Runtime {ort.__version__} refuses the artifact's QDQ model: {error}",
                where=artifact.name,
                remedy="update onnxruntime, or use --board interpreter",
            ) from error
        self._artifact = artifact
        self._input = str(self._session.get_inputs()[0].name)

    def run_float(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """float32 [1, C, H, W] → float32 [1, *shape] of each output."""
        names = [output.name for output in self._artifact.program.outputs]
        answers = cast("list[Any]", self._session.run(names, {self._input: image}))
        return [np.asarray(answer, dtype=np.float32) for answer in answers]

    def run(self, codes: NDArray[np.int8]) -> tuple[NDArray[np.int8], ...]:
        """Codes in the program's layout, int8 [C, batch * H, W], to those of each output, image by image.

        They go through the exact power-of-two scales.
        """
        program = self._artifact.program
        images = to_real(unstack(codes, program.batch), program.input.exponent)
        answers = [self.run_float(images[n : n + 1]) for n in range(program.batch)]
        planes = [output.plane for output in program.outputs]
        return tuple(
            stack(quantise_images(np.stack(ys).reshape(program.batch, p.channels, -1, p.width), p))
            for p, ys in zip(planes, zip(*answers, strict=True), strict=True)
        )


def measure_cpu(artifact: Artifact, label: str) -> BenchRecord:
    """Latency of the QDQ model on this host: median, 10th and 90th percentile of repeated runs after a warm-up.

    Args:
        label: the artifact's file name.
    """
    executor = CpuExecutor(artifact, threads=0)
    image = artifact.golden.image[:1]
    for _ in range(WARM_UP):
        executor.run_float(image)
    times: list[float] = []
    begin = time.perf_counter()
    while True:
        start = time.perf_counter()
        executor.run_float(image)
        end = time.perf_counter()
        times.append(end - start)
        spent = end - begin
        if spent > MAX_SECONDS or (spent > MIN_SECONDS and len(times) >= MIN_REPETITIONS):
            break
    low, median, high = (float(q) * 1e3 for q in np.percentile(times, (10, 50, 90)))
    threads = os.cpu_count() or 1
    return BenchRecord(
        artifact=label,
        network=artifact.name,
        board="cpu",
        array=None,
        source="measured",
        model=f"ONNX Runtime {ort.__version__} on this host",
        latency_ms=median,
        latency_low_ms=low,
        latency_high_ms=high,
        repetitions=len(times),
        throughput_per_s=1e3 / median,
        macs=artifact.plan.totals.macs // artifact.program.batch,
        notes=(
            f"{platform.machine()} host, {threads} logical cores, wall clock; other work shows in the spread",
            "no energy meter is attached, so no energy is given",
        ),
    )
