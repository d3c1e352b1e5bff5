"""Programs mutated and sealed again, on an engine built with sanitisers: no crash, no hang, no error of ours."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.fuzz.campaign import Tally, run_range, sanitised
from benchmarks.fuzz.networks import NETWORKS, compiled

CHUNK = 100
"""Mutants that a process takes before a new one follows it."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz_engine", description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="mutants to run")
    parser.add_argument("--first", type=int, default=0, help="seed of the first; campaigns divide by their seeds")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the networks' artifacts are kept; else made anew")
    parser.add_argument("names", nargs="*", help=f"networks: {', '.join(NETWORKS)}")
    asked = parser.parse_args(arguments)
    environment = sanitised()
    if environment is None:
        print("the compiler has no sanitisers; only crashes, hangs and exit codes are found")
    names = asked.names or list(NETWORKS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            compiled(name, folder)
        start = time.monotonic()
        starts = range(asked.first, asked.first + asked.count, CHUNK)
        total = Tally()
        with ThreadPoolExecutor(asked.processes) as pool:
            runs = [
                pool.submit(
                    run_range, at, min(at + CHUNK, starts.start + asked.count), folder, names, environment or {}
                )
                for at in starts
            ]
            for number, run in enumerate(runs, start=1):
                found = run.result()
                for finding in found.findings:
                    print(finding, flush=True)
                total += found
                print(f"  {min(number * CHUNK, asked.count)} mutants, {len(total.findings)} findings", flush=True)
    codes = ", ".join(f"{count}× {code}" for code, count in sorted(total.codes.items()))
    print(
        f"{asked.count} mutants of {len(names)} programs, seeds from {asked.first}: {total.commands} commands, exit "
        f"codes {codes}; slowest {total.slowest:.1f} s, peak {total.peak_mib} MiB, {time.monotonic() - start:.0f} s; "
        f"{len(total.findings)} findings"
    )
    if total.findings:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
