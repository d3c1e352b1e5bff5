"""Runs one table: ``python -m benchmarks.reproduce codesign|guided|lenet|knapsack|neq``, with ``--full`` at the papers'
scale; see ``--help``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.reproduce.common import Bench

TABLES = ("codesign", "guided", "lenet", "knapsack", "neq")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--full", action="store_true", help="the papers' scale: hours or days, on a large machine")
    parser.add_argument("--smoke", action="store_true", help="digits, one epoch: does it run?")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), help="where runs and tables go")
    parser.add_argument("--data-dir", type=Path, default=None, help="where Fashion-MNIST lies")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--seed", type=int, action="append", help="codesign: these seeds alone; several make the table")
    parser.add_argument("--epochs", type=int, help="codesign: of every network in all, an even number")
    parser.add_argument("--share", type=float, action="append", help="codesign: of the dense latency, for example 0.2")
    parser.add_argument("--way", action="append", help="codesign: of the rivals these alone; it and thin are there")
    given = parser.parse_args()
    scale = "full" if given.full else "smoke" if given.smoke else "reduced"
    bench = Bench(
        given.out / f"{given.table}-{scale}",
        scale,
        given.data_dir,
        given.threads,
        given.device,
        given.seed,
        given.epochs,
        given.share,
        given.way,
    )
    importlib.import_module(f"benchmarks.reproduce.{given.table}").main(bench)


if __name__ == "__main__":
    main()
