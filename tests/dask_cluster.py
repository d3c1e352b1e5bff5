"""A Dask scheduler and its workers, each a process of its own, as on a real cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN = 60.0
"""Seconds that a scheduler has to say where it is."""


@dataclass(frozen=True)
class Cluster:
    """Address of the scheduler, and its workers' processes."""

    address: str
    workers: tuple[subprocess.Popen[bytes], ...]

    def kill(self, worker: int = 0) -> None:
        """Stop a worker as nothing can prevent, with all that it started."""
        os.killpg(self.workers[worker].pid, signal.SIGKILL)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Generator[Cluster, None, None]:
    """A scheduler at any free port, with ``workers`` of one thread each; all are stopped at the end."""
    file = folder / "scheduler.json"

    def start(part: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{part}", "--no-dashboard", "--scheduler-file", str(file)]
        return subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )

    processes = [start("dask_scheduler", "--port", "0")]
    try:
        end = time.monotonic() + STARTS_WITHIN
        while not file.exists():
            assert processes[0].poll() is None and time.monotonic() < end, "the scheduler did not start"
            time.sleep(0.05)
        processes += [start("dask_worker", "--nthreads", "1", "--no-nanny") for _ in range(workers)]
        yield Cluster(json.loads(file.read_text())["address"], tuple(processes[1:]))
    finally:
        for process in processes:
            process.kill()
            process.wait()
