"""Mutated artifacts, ONNX files and run directories through the commands: how many end in a fault of ours."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.fuzzing.campaign import campaign
from tests.fuzzing.cases import CASES

DEFAULT = {"artifact": 400, "onnx": 200, "run": 60}
"""Cases of a run without arguments, among all other benchmarks; campaigns name their own seeds."""


def main(arguments: list[str] | None = None) -> None:
    """``python -m benchmarks.bench_fuzz_files artifact 0 10000 --processes 16``; a seed is a case, wherever it runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_fuzz_files", description=main.__doc__)
    parser.add_argument("kind", nargs="?", choices=sorted(CASES), help="default: all, a few cases of each")
    parser.add_argument("first", nargs="?", type=int, default=0, help="first seed")
    parser.add_argument("last", nargs="?", type=int, help="seed after the last")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments or [])
    failed = 0
    for kind in [given.kind] if given.kind else sorted(CASES):
        seeds = range(given.first, given.last if given.last is not None else given.first + DEFAULT[kind])
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="proprune-fuzz-") as folder:
            report = campaign(
                kind,
                seeds,
                Path(folder),
                processes=given.processes,
                batch=max(1, min(250, len(seeds) // given.processes + 1)),
                on_fault=lambda seed, fault, kind=kind: print(f"{kind} {seed}: {fault}", flush=True),
            )
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(report.codes.items()))
        print(
            f"{kind:9} {report.cases:6} cases, {len(report.faults)} faults, slowest {report.slowest[0]:.1f} s (seed "
            f"{report.slowest[1]}), "
            f"{time.perf_counter() - begin:.0f} s in all; exit codes {codes}",
            flush=True,
        )
        failed += len(report.faults)
    if failed and arguments is not None:
        raise SystemExit(1)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
