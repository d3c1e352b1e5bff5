"""The accuracy predictor: how far it is off on methods and budgets that it was not fitted on.

``python -m benchmarks.bench_accuracy SWEEP… --write`` writes the table of docs/predictors.md. A sweep is a directory of
``proprune explore`` or ``proprune prune``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proprune_cli.files.write import write_whole
from proprune_cli.predict.accuracy import SCORES, Accuracy, Score, Variant, variants_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "predictors.md"
BEGIN = "<!-- table: python -m benchmarks.bench_accuracy SWEEP --write -->"
END = "<!-- end of table -->"
HELD = ("method", "budget")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """Scores in percent, [runs]: what was reached, what was said with its interval, and two plain guesses: the mean of
    the other runs, and the run of the nearest operations among them."""

    reached: Floats
    value: Floats
    low: Floats
    high: Floats
    mean: Floats
    nearest: Floats


def held_out(variants: Sequence[Variant], by: str, score: Score) -> Said:
    """Each method or budget in turn, by a predictor that was fitted on the runs of all others."""
    columns: list[Floats] = []
    for name in sorted({str(getattr(v, by)) for v in variants}):
        asked = [v for v in variants if getattr(v, by) == name]
        others = [v for v in variants if getattr(v, by) != name]
        found = Accuracy().fit(others).predict(asked, score)
        reached = np.array([float(getattr(v, score)) for v in others])
        operations = np.log([v.operations for v in others])
        nearest = [reached[int(np.argmin(np.abs(operations - np.log(v.operations))))] for v in asked]
        truth = np.array([float(getattr(v, score)) for v in asked])
        mean = np.full(len(asked), reached.mean())
        columns.append(np.stack([truth, found.value, found.low, found.high, mean, np.array(nearest)]))
    return Said(*np.concatenate(columns, axis=1))


def table(variants: Sequence[Variant]) -> str:
    """In Markdown: mean errors in points of accuracy."""
    what = sorted({f"{v.network}, dense {v.dense:.1f} %, {v.images} test images" for v in variants})
    methods, budgets = (sorted({str(getattr(v, by)) for v in variants}) for by in HELD)
    lines = [
        f"{len(variants)} runs of {'; '.join(what)}: methods {', '.join(methods)}; budgets {', '.join(budgets)}.",
        "",
        "| held out | score | spread of the scores | mean error | mean of the others | nearest operations "
        "| held by intervals for 90 % | Spearman |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    words: dict[Score, str] = {"cut": "after the cut", "finetuned": "fine-tuned"}
    for by in HELD:
        for score in SCORES:
            said = held_out(variants, by, score)

            def off(guess: Floats, reached: Floats = said.reached) -> str:
                return f"{np.abs(guess - reached).mean():.2f}"

            held = float(((said.low <= said.reached) & (said.reached <= said.high)).mean())
            cells = [f"each {by}", words[score], f"{said.reached.std():.2f}", off(said.value), off(said.mean),
                     off(said.nearest), f"{held:.0%}", f"{_spearman(said.value, said.reached):.2f}"]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spearman(one: Floats, other: Floats) -> float:
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_accuracy", description=__doc__)
    parser.add_argument("sweep", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="the table of docs/predictors.md")
    asked = parser.parse_args(arguments)
    text = table(variants_of(asked.sweep))
    print(text)
    if asked.write:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        write_whole(PAGE, f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}".encode())


if __name__ == "__main__":
    main()
