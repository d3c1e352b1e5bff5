"""Runs the benchmarks named on the command line, or all of them; one alone takes options of its own."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("bench_*.py"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(n.removeprefix("bench_") for n in NAMES))
    asked, rest = parser.parse_known_args()
    wanted = [f"bench_{n}" for n in asked.names] or NAMES
    unknown = sorted(set(wanted) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(n.removeprefix('bench_') for n in unknown)}")
    if rest and len(wanted) > 1:
        parser.error(f"options are one benchmark's own: {' '.join(rest)}")
    for name in wanted:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n== {name.removeprefix('bench_')}: {(module.__doc__ or '').strip().splitlines()[0]}", flush=True)
        module.main(rest) if rest else module.main()


if __name__ == "__main__":
    main()
