"""How wrong predictors are where they were not fitted: splits that keep what is alike together, and their errors.

A split holds out all rows of a family of architectures, an array, a way to prune, or of larger images. Ranks are
compared within a family, array and board, which is what a search does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from proprune_cli.predict.base import COVERAGE, LEAST_ROWS, Figure, Predictor
from proprune_cli.predict.columns import Floats, Rows

WAYS: dict[str, tuple[str, ...]] = {
    "widths": ("thin", "coupled", "free", "odd"),
    "guided": ("guided", "guided+binary"),
    "binary": ("binary",),
    "taps": ("taps",),
    "positions": ("positions",),
}
"""Methods that are held out together."""

SMALL_IMAGE = 48
"""Rows of images up to which networks are small ones."""

_RANKED = 8
"""Networks that a group has at least, for their ranks to mean something."""


@dataclass(frozen=True)
class Split:
    """Rows to fit on and rows to ask about, bool [rows] each. ``kind``: what was held out; ``name``: which of it."""

    kind: str
    name: str
    fit: NDArray[np.bool_]
    ask: NDArray[np.bool_]


def splits(rows: Rows, kinds: Sequence[str] = ("family", "array", "way", "size", "rows")) -> Iterator[Split]:
    """All splits that leave enough on both sides."""
    columns = {"family": rows["family"].astype(str), "array": rows["array"].astype(str)}
    columns["way"] = np.select([np.isin(rows["method"].astype(str), m) for m in WAYS.values()], list(WAYS), "dense")
    for kind in ("family", "array", "way"):
        for name in np.unique(columns[kind]).tolist() if kind in kinds else ():
            if (kind, name) != ("way", "dense"):
                yield from _enough(Split(kind, name, columns[kind] != name, columns[kind] == name))
    if "size" in kinds:
        large = np.maximum(rows["height"], rows["width"]) > SMALL_IMAGE
        yield from _enough(Split("size", f"above {SMALL_IMAGE}", ~large, large))
    if "rows" in kinds:
        drawn = np.random.default_rng(0).random(len(rows)) < 0.2
        yield from _enough(Split("rows", "a fifth", ~drawn, drawn))


def _enough(split: Split) -> Iterator[Split]:
    if split.fit.sum() >= LEAST_ROWS and split.ask.sum() >= _RANKED:
        yield split


@dataclass(frozen=True)
class Errors:
    """How wrong predictions are.

    Attributes:
        rows: asked about. mape, p95: mean and 95th percentile of the relative error. bias: its mean with its sign.
        within5, within10: shares of rows with an error of up to 5 and 10 %. covered: share inside the interval.
        spearman, kendall: mean of the groups' rank correlations; least_spearman: the least of a group. NaN without any.
    """

    rows: int
    mape: float
    p95: float
    bias: float
    within5: float
    within10: float
    covered: float
    spearman: float
    kendall: float
    least_spearman: float


def errors(rows: Rows, figure: Figure, value: Floats, low: Floats, high: Floats) -> Errors:
    """Compare predictions with the figures of ``rows``."""
    truth = rows[figure]
    relative = value / truth - 1
    ranks = list(_ranks(rows, truth, value))
    spearman, kendall = np.array(ranks).reshape(-1, 2).T
    size = np.abs(relative)

    def mean(values: Floats) -> float:
        return float(values.mean()) if len(values) else float("nan")

    return Errors(
        len(rows),
        float(size.mean()),
        float(np.percentile(size, 95)),
        float(relative.mean()),
        float((size <= 0.05).mean()),
        float((size <= 0.10).mean()),
        float(((low <= truth) & (truth <= high)).mean()),
        mean(spearman),
        mean(kendall),
        float(spearman.min()) if len(spearman) else float("nan"),
    )


def _ranks(rows: Rows, truth: Floats, value: Floats) -> Iterator[tuple[float, float]]:
    from scipy import stats

    # The types of SciPy leave open what a result has.
    ranks = cast("Any", stats)
    names = [rows[name].astype(str) for name in ("family", "array", "board")]
    groups = np.array(["\n".join(parts) for parts in zip(*names, strict=True)])
    for group in np.unique(groups):
        at = groups == group
        if at.sum() >= _RANKED and np.ptp(truth[at]) > 0 and np.ptp(value[at]) > 0:
            yield (
                float(ranks.spearmanr(truth[at], value[at])[0]),
                float(ranks.kendalltau(truth[at], value[at])[0]),
            )


@dataclass(frozen=True)
class Outcome:
    """What a predictor did in a split.

    Attributes:
        asked: rows asked about. predictions: of each figure: value, low, high, float64 [3, rows].
        fit_seconds: to fit both figures, on one core. microseconds: of a network's latency, many at once.
    """

    predictor: str
    split: Split
    asked: NDArray[np.int64]
    predictions: dict[Figure, Floats]
    fit_seconds: float
    microseconds: float


def attempt(
    make: Callable[[], Predictor], split: Split, rows: Rows, *, most: int = 0, ask: int = 0, seed: int = 0
) -> Outcome:
    """Fit a predictor on one side of a split and ask about the other.

    Args:
        most: rows to fit on at most, drawn by ``seed``; ask: to ask about; 0: all.
    """
    rng = np.random.default_rng(seed)
    fit, asked = (
        np.sort(rng.permutation(np.flatnonzero(side))[: limit or None])
        for side, limit in ((split.fit, most), (split.ask, ask))
    )
    begin = time.process_time()
    predictor = make().fit(rows.take(fit), seed=seed)
    fitted = time.process_time()
    unseen = rows.take(asked)
    predictions: dict[Figure, Floats] = {}
    found = predictor.predict(unseen, "latency_ms", COVERAGE)
    done = time.process_time()
    predictions["latency_ms"] = np.stack([found.value, found.low, found.high])
    found = predictor.predict(unseen, "energy_mj", COVERAGE)
    predictions["energy_mj"] = np.stack([found.value, found.low, found.high])
    return Outcome(predictor.name, split, asked, predictions, fitted - begin, (done - fitted) / len(asked) * 1e6)


def pooled(outcomes: Sequence[Outcome], rows: Rows, figure: Figure, only: NDArray[np.bool_] | None = None) -> Errors:
    """Errors of one predictor over several splits together, of the rows of ``only`` (bool [rows]) if given."""
    asked = np.concatenate([o.asked for o in outcomes])
    said = np.concatenate([o.predictions[figure] for o in outcomes], axis=1)
    if only is not None:
        keep = only[asked]
        asked, said = asked[keep], said[:, keep]
    return errors(rows.take(asked), figure, said[0], said[1], said[2])
