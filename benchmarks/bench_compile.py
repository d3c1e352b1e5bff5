"""`proprune compile` as a whole process, from an ONNX file: seconds and peak memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.networks import NETWORKS

PEAK = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)


def main() -> None:
    print(f"{'network':24} {'seconds':>8} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for network in NETWORKS:
            model, images, out = (Path(folder) / f"{network.name}.{x}" for x in ("onnx", "npy", "ppr"))
            model.write_bytes(network.onnx_bytes())
            np.save(images, network.images(16))
            command = [Path(sys.executable).parent / "proprune", "compile", model, "--calibration", images, "-o", out]
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", PEAK, *map(str, command)], check=True, capture_output=True, text=True
            )
            seconds = time.perf_counter() - start
            print(f"{network.name:24} {seconds:8.2f} {int(done.stderr.split()[-1]) / 1024:8.0f}")
