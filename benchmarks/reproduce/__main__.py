"""Runs one table: ``python -m benchmarks.reproduce guided|lenet|knapsack|neq [--full] [--device cuda] [--out DIR]``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.reproduce.common import Bench

TABLES = ("guided", "lenet", "knapsack", "neq")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--full", action="store_true", help="the papers' scale: hours or days, on a large machine")
    parser.add_argument("--smoke", action="store_true", help="digits, one epoch: does it run?")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"), help="where runs and tables go")
    parser.add_argument("--data-dir", type=Path, default=None, help="where Fashion-MNIST lies")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    given = parser.parse_args()
    scale = "full" if given.full else "smoke" if given.smoke else "reduced"
    bench = Bench(given.out / f"{given.table}-{scale}", scale, given.data_dir, given.threads, given.device)
    importlib.import_module(f"benchmarks.reproduce.{given.table}").main(bench)


if __name__ == "__main__":
    main()
