"""The interface of predictors: fit, predict with an interval, save, load, explain.

A predictor says what a network costs from its passes and its array alone, before anything is scheduled. It imitates
where its rows come from: rows by the loop model make it a fast loop model, rows from a board a model of that board.
Intervals are split-conformal: a part of the rows is kept from fitting, and the errors on them, in logarithms, are
the width (Lei et al., "Distribution-Free Predictive Inference for Regression", 2018, Algorithm 2). They hold for
networks like those of the rows; `proprune_cli.predict.evaluate` says what they cover elsewhere.
"""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from proprune_cli.errors import InputError, UsageError
from proprune_cli.files.arrays import read_npz
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.write import write_whole
from proprune_cli.predict.columns import FIGURES, Floats, Rows

VERSION = 1
"""Of the files of predictors."""

LEAST_ROWS = 20
"""Rows that a predictor is fitted on, at least: its interval needs some, too."""

COVERAGE = 0.9
"""Share of the networks that an interval is to hold, if nothing else is asked."""

Figure = Literal["latency_ms", "energy_mj"]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Prediction:
    """A predicted figure, float64 [rows]: of one image in the unit that its name ends with, or a score in percent.

    Attributes:
        low, high: the interval that holds ``coverage`` of networks like those that the predictor was fitted on.
        source: "predicted", and from what: the `source` of the rows.
    """

    figure: str
    value: Floats
    low: Floats
    high: Floats
    coverage: float
    source: str = "predicted"


class Predictor(ABC):
    """Predicts latency and energy of one image."""

    name: ClassVar[str]
    """As reports call it."""

    def __init__(self) -> None:
        self.sources: tuple[str, ...] = ()
        self.errors: dict[str, Floats] = {}
        self._fitted = False

    # What each predictor says itself.

    @abstractmethod
    def _fit(self, rows: Rows) -> None:
        """Learn from ``rows``, which were checked."""

    @abstractmethod
    def _values(self, rows: Rows, figure: Figure) -> Floats:
        """Figures of ``rows``, [rows]."""

    @abstractmethod
    def _parts(self, row: Rows, figure: Figure) -> dict[str, float]:
        """What the figure of the one row is made of; the parts add up to it."""

    @abstractmethod
    def _arrays(self) -> Arrays:
        """All that was learned."""

    @abstractmethod
    def _restore(self, arrays: Arrays) -> None:
        """Take back what `_arrays` gave.

        Raises:
            KeyError, ValueError, IndexError: something of it is missing, or has another shape.
        """

    # What they have in common.

    def fit(self, rows: Rows, *, sources: Literal["one", "both"] = "one", seed: int = 0) -> Self:
        """Learn from ``rows``; a fifth of them is kept for the interval.

        Args:
            sources: "both": predicted and measured rows may be mixed. seed: of which rows are kept.

        Raises:
            UsageError: predicted and measured rows are mixed unsaid. InputError: there are too few rows, or a label is
                no positive number.
        """
        found = tuple(sorted(set(rows["source"].astype(str).tolist())))
        if len(found) > 1 and sources != "both":
            raise UsageError(
                f"the rows are of several sources: {', '.join(found)}",
                where=f"predictor {self.name}",
                remedy='choose those of one, or say sources="both"',
            )
        if len(rows) < LEAST_ROWS:
            raise InputError(
                f"{len(rows)} rows are too few to learn from",
                where=f"predictor {self.name}",
                remedy=f"give {LEAST_ROWS} or more: proprune dataset --rows",
            )
        for figure in FIGURES:
            _check_labels(rows[figure], figure)
        order = np.random.default_rng(seed).permutation(len(rows))
        kept = np.sort(order[: max(len(rows) // 5, 10)])
        self._fit(rows.take(np.sort(order[len(kept) :])))
        self._fitted, self.sources = True, found
        for figure in FIGURES:
            seen = rows.take(kept)
            self.errors[figure] = np.sort(np.abs(np.log(seen[figure] / self._values(seen, figure))))
        return self

    def predict(self, rows: Rows, figure: Figure = "latency_ms", coverage: float = COVERAGE) -> Prediction:
        """A figure of ``rows`` with its interval.

        Raises:
            UsageError: the predictor was not fitted, or ``coverage`` is no share.
        """
        self._check_fitted()
        if not 0 < coverage < 1:
            raise UsageError(f"{coverage} is no share", where="coverage", remedy="give a number between 0 and 1")
        value = self._values(rows, figure)
        errors = self.errors[figure]
        place = int(np.ceil((len(errors) + 1) * coverage)) - 1
        width = float(errors[place]) if place < len(errors) else float("inf")
        with np.errstate(over="ignore"):
            factor = float(np.exp(width))
        return Prediction(
            figure,
            value,
            value / factor,
            value * factor,
            coverage,
            f"predicted, from {' and '.join(self.sources)} rows",
        )

    def explain(self, rows: Rows, row: int = 0, figure: Figure = "latency_ms") -> dict[str, float]:
        """What the figure of one row is made of: parts by name, in the figure's unit, which add up to it."""
        self._check_fitted()
        return self._parts(rows.take(np.array([row])), figure)

    def save(self, path: Path) -> None:
        """Write the predictor as an ``.npz`` file of numbers."""
        self._check_fitted()
        about = {"kind": "predictor", "version": VERSION, "name": self.name, "sources": list(self.sources)}
        arrays = {f"model.{name}": array for name, array in self._arrays().items()}
        arrays |= {f"errors.{figure}": self.errors[figure] for figure in FIGURES}
        arrays["about"] = np.frombuffer(json.dumps(about, sort_keys=True).encode(), dtype=np.uint8)
        out = io.BytesIO()
        np.savez_compressed(out, **arrays)  # pyright: ignore[reportArgumentType]
        write_whole(path, out.getvalue())

    def take_back(self, arrays: Arrays, sources: tuple[str, ...]) -> None:
        """Become the predictor that was saved as ``arrays``.

        Raises:
            KeyError, ValueError, IndexError: as `_restore`.
        """
        self.sources = sources
        self.errors = {figure: arrays[f"errors.{figure}"].astype(np.float64) for figure in FIGURES}
        if any(e.ndim != 1 or not len(e) or not np.isfinite(e).all() for e in self.errors.values()):
            raise ValueError("errors that are no numbers")
        self._restore({n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")})
        self._fitted = True

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise UsageError(
                f"the predictor {self.name} has learned nothing", where="fit", remedy="fit it, or load one that was"
            )


def load_predictor(path: Path, kinds: dict[str, Callable[[], Predictor]]) -> Predictor:
    """The predictor of a file that `Predictor.save` wrote.

    Args:
        kinds: predictors by name.

    Raises:
        InputError: there is no such file, or it is no predictor, damaged, or of another version.
    """

    def fault(what: str) -> InputError:
        return InputError(f"the file is no predictor: {what}", where=str(path), remedy="fit and save one again")

    try:
        arrays = read_npz(path)
        about = parse_object(arrays["about"].astype(np.uint8).tobytes())
        if about.get("kind") != "predictor" or about.get("version") != VERSION:
            raise fault(f"version {about.get('version')}, and this is {VERSION}")
        make = kinds.get(str(about.get("name")))
        if make is None:
            raise fault(f"nothing is called {about.get('name')!r}")
        predictor = make()
        predictor.take_back(arrays, tuple(str(s) for s in about["sources"]))
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path), remedy="check the path") from error
    except (KeyError, ValueError, IndexError, TypeError, OSError) as error:
        raise fault(f"{type(error).__name__.lower()}: {error}") from error
    return predictor


def _check_labels(values: NDArray[Any], name: str) -> None:
    bad = ~np.isfinite(values) | (values <= 0)
    if bad.any():
        raise InputError(
            f"row {int(np.flatnonzero(bad)[0])} has {values[bad][0]}", where=f"column {name}",
            remedy="make the data set again",
        )  # fmt: skip
