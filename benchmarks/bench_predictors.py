"""Predictors of latency and energy: how wrong each is on families, arrays, methods and sizes that it was not fitted on.

``python -m benchmarks.bench_predictors DATASET… --write`` fits and asks all of them and writes the tables and pictures
of docs/predictors.md. A data set is a directory that ``proprune dataset`` made, or one that it is still making.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import predictors_page as page
from proprune_cli.errors import InputError
from proprune_cli.predict.analytic import walked
from proprune_cli.predict.columns import Rows, columns
from proprune_cli.predict.evaluate import Outcome, Split, attempt, splits
from proprune_cli.predict.predictors import PREDICTORS
from proprune_cli.predict.schema import arrow
from proprune_cli.predict.store import FILE, read_rows

KINDS = ("family", "array", "way", "size", "rows")

CURVE = (50, 100, 200, 400, 800, 1600, 3200, 6400)
"""Rows of the learning curve."""

CURVE_FAMILIES = ("resnet", "mobilenetv2", "squeezenet")
"""Families that it is taken on, held out."""

CURVE_SEEDS = (0,)

ASKED_OF_CURVE = 200
"""Rows of each that are asked about."""


def rows_of(paths: Sequence[Path]) -> Rows:
    """The rows of data sets, one after the other; of one that is not finished, those of the parts that are there."""
    tables = []
    for path in paths:
        if path.is_dir() and not (path / FILE).is_file():
            parts = sorted((path / "parts").glob("*.parquet"))
            if not parts:
                raise InputError("there are no rows", where=str(path), remedy="proprune dataset --out DIR")
            tables += [read_rows(part) for part in parts]
        else:
            tables.append(read_rows(path))
    return columns(arrow().concat_tables(tables))


_shared: list[Rows] = []
"""The rows, in each process."""


def _one(job: tuple[str, Split, int, int]) -> Outcome:
    name, split, most, ask = job
    return attempt(PREDICTORS[name], split, _shared[0], most=most, ask=ask)


def evaluate(
    rows: Rows, kinds: Sequence[str], names: Sequence[str], most: int, ask: int, processes: int
) -> list[Outcome]:
    """Every predictor in every split."""
    jobs = [(name, split, most, ask) for split in splits(rows, kinds) for name in names]
    _shared[:] = [rows]
    found: list[Outcome] = []
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for outcome in pool.imap(_one, jobs):
            found.append(outcome)
            error = np.abs(outcome.predictions["latency_ms"][0] / rows["latency_ms"][outcome.asked] - 1).mean()
            kind, name = outcome.split.kind, outcome.split.name
            said = f"{kind:7} {name:18} {outcome.predictor:16} {error:8.2%}  {outcome.fit_seconds:6.1f} s to fit"
            print(said, file=sys.stderr, flush=True)
    return found


def curve(rows: Rows, names: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """Mean error of latency on `CURVE_FAMILIES`, held out, over rows to fit on."""
    held = [s for s in splits(rows, ("family",)) if s.name in CURVE_FAMILIES]
    points: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    for count in (c for c in CURVE if held and c <= min(int(s.fit.sum()) for s in held)):
        for name in names:
            errors = [_error(rows, split, name, count, seed) for split in held for seed in CURVE_SEEDS]
            points[name].append((count, float(np.mean(errors))))
    return points


def _error(rows: Rows, split: Split, name: str, count: int, seed: int) -> float:
    found = attempt(PREDICTORS[name], split, rows, most=count, ask=ASKED_OF_CURVE, seed=seed)
    return float(np.abs(found.predictions["latency_ms"][0] / rows["latency_ms"][found.asked] - 1).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_predictors", description=__doc__)
    parser.add_argument("dataset", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="the tables and pictures of docs/predictors.md")
    parser.add_argument("--predictor", action="append", choices=list(PREDICTORS), help="this one; else all")
    parser.add_argument("--most", type=int, default=4000, help="rows to fit on at most; %(default)s")
    parser.add_argument("--ask", type=int, default=0, help="rows of a split to ask about at most; 0: all")
    parser.add_argument("--kind", action="append", choices=KINDS, help="what is held out; else each in turn")
    parser.add_argument("--processes", type=int, default=1, help="%(default)s")
    parser.add_argument("--no-curve", action="store_true", help="leave the learning curve out")
    asked = parser.parse_args(arguments)
    names = asked.predictor or list(PREDICTORS)
    bare = rows_of(asked.dataset)
    begin = time.process_time()
    rows = walked(bare)
    walk = (time.process_time() - begin) / len(rows) * 1e6
    outcomes = evaluate(rows, asked.kind or KINDS, names, asked.most, asked.ask, asked.processes)
    points = {} if asked.no_curve else curve(rows, names)
    text = page.tables(rows, outcomes, points, walk, asked.most)
    print(text)
    if asked.write:
        page.write(text, rows, outcomes, points)


if __name__ == "__main__":
    main()
