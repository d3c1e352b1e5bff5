"""The latency of an artifact's QDQ model in ONNX Runtime, measured on this host."""

from __future__ import annotations

import os
import platform
import time

import numpy as np
import onnxruntime as ort

from proprune_cli.artifact import Artifact
from proprune_cli.board.cpu import CpuExecutor
from proprune_cli.measure.records import BenchRecord

WARM_UP = 5
MIN_REPETITIONS = 30
MIN_SECONDS = 0.5
MAX_SECONDS = 10.0


def measure_cpu(artifact: Artifact, label: str) -> BenchRecord:
    """Latency of the QDQ model on this host: median, 10th and 90th percentile of repeated runs after a warm-up.

    Args:
        label: the artifact's file name.
    """
    executor = CpuExecutor(artifact, threads=0)
    image = artifact.program.real_input(artifact.golden.image[:1])
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
    batch, nonzero = artifact.program.batch, artifact.plan.totals.nonzero_macs
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
        macs=artifact.plan.totals.macs // batch,
        nonzero_macs=None if nonzero is None else nonzero // batch,
        notes=(
            f"{platform.machine()} host, {threads} logical cores, wall clock; other work shows in the spread",
            "no energy meter is attached, so no energy is given",
        ),
    )
