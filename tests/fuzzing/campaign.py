"""Ranges of seeds in processes of their own; one that dies is a fault of the case it died in, and another goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Report:
    """What became of a campaign. ``faults``: seed and what was wrong. ``codes``: how often each exit code came.

    ``slowest``: seconds of processor time, and the seed.
    """

    cases: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)


def campaign(
    kind: str,
    seeds: range,
    folder: Path,
    *,
    processes: int,
    batch: int = 250,
    on_fault: Callable[[int, str], None] = lambda _seed, _fault: None,
) -> Report:
    """Run every seed of ``kind``; deterministic in the seeds, however they are shared out.

    Args:
        folder: for the seeds' files and the working directories. batch: seeds of one process.
    """
    from tests.fuzzing.seeds import make_seeds

    made = folder / "seeds"
    made.mkdir(parents=True, exist_ok=True)
    make_seeds(made, run=kind == "run")
    report = Report()
    parts = [range(a, min(a + batch, seeds.stop)) for a in range(seeds.start, seeds.stop, batch)]

    def whole(part: range) -> None:
        first = part.start
        while first < part.stop:
            first = _some(kind, first, part.stop, made, folder / f"work-{kind}-{part.start}", report, on_fault)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(whole, parts))
    report.faults.sort()
    return report


def _some(
    kind: str, first: int, last: int, seeds: Path, work: Path, report: Report, on_fault: Callable[[int, str], None]
) -> int:
    """Seeds from ``first`` on in one process; the first that is still to be done."""
    command = [sys.executable, "-m", "tests.fuzzing.worker", kind, str(first), str(last)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryFile("w+", errors="replace") as errors, subprocess.Popen(
        [*command, "--seeds", str(seeds), "--work", str(work)], stdout=subprocess.PIPE, text=True, env=environment,
        stderr=errors,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        at, begun = first, False
        for line in process.stdout:
            found: dict[str, Any] = json.loads(line)
            if "start" in found:
                at, begun = int(found["start"]), True
                continue
            report.cases += 1
            report.codes.update(found["codes"])
            report.slowest = max(report.slowest, (found["seconds"], at))
            if found["fault"]:
                report.faults.append((at, found["fault"]))
                on_fault(at, found["fault"])
            at += 1
        code = process.wait()
        errors.seek(0)
        said = errors.read()[-2000:]
    if at >= last and code == 0:
        return last
    if not begun:
        raise RuntimeError(f"the process for {kind} {first} to {last} did not begin: exit {code}\n{said}")
    if code == 1 and "tests/fuzzing" in said:
        raise RuntimeError(f"the campaign itself failed with {kind} {at}:\n{said}")
    name = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
    what = "too long" if code in (-signal.SIGALRM, -signal.SIGPROF) else f"the process ended with {name}"
    report.cases += 1
    report.faults.append((at, what))
    on_fault(at, what)
    return at + 1
