"""What a pruned variant of a trained network will score, right after the cut and after fine-tuning, before either.

Learned from sweeps: run directories of ``proprune prune`` and ``proprune explore``, whose scores were measured on test
images. A variant is what its channels say: operations and parameters that remain, the group that lost most, how
unevenly groups lost, the method that chose, and the epochs of fine-tuning. A line through these, in logits of the score
against those of the dense network, is fitted by ridge regression; the penalty is the one whose leave-one-out error is
least. Intervals are as wide as the errors, in logits, on budgets that are left out in turn: the jackknife (Barber,
Candès, Ramdas and Tibshirani 2021, "Predictive inference with the jackknife+", equation 1.2), with all runs of a budget
in place of single ones, which are too much alike to judge one another. A method that no run was made with is taken for
the middle one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from proprune_cli.errors import InputError, UsageError
from proprune_cli.files.arrays import read_npz
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.limits import JSON_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.files.write import write_whole
from proprune_cli.predict.base import COVERAGE, Prediction

VERSION = 1
LEAST_RUNS = 8
Score = Literal["cut", "finetuned"]
SCORES: tuple[Score, ...] = ("cut", "finetuned")
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-3, 3.1, 0.5))
FEATURES = ("operations", "parameters", "smallest group", "unevenness", "fine-tuning")
"""Of a variant: base-2 logarithms of the shares that remain, and of one more than the epochs."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """One pruning run.

    Attributes:
        network: model and data that it is of. method, budget: as they were given.
        dense: score of the dense network, in percent. chance: of one that guesses. images: that scores are measured on.
        operations, parameters: shares that remain. groups: share of the channels that remains, of each group that may
            lose some.
        epochs: of fine-tuning.
        cut, finetuned: scores in percent; nan where they are not known.
    """

    network: str
    method: str
    budget: str
    dense: float
    chance: float
    images: int
    operations: float
    parameters: float
    groups: tuple[float, ...]
    epochs: int
    cut: float = float("nan")
    finetuned: float = float("nan")


def variants_of(paths: Iterable[Path]) -> list[Variant]:
    """The finished runs in directories: each a run's own, or one with explorations' ``points``.

    Raises:
        InputError: a directory holds no finished run, or a file of one is damaged.
    """
    found: list[Variant] = []
    for path in paths:
        runs = (
            [path]
            if (path / "results.json").is_file()
            else sorted(p.parent for p in path.glob("points/*/results.json"))
        )
        if not runs:
            raise InputError(
                "there is no finished run", where=str(path), remedy="give directories of proprune prune or explore"
            )
        found += [_variant(run) for run in runs]
    return found


def _variant(run: Path) -> Variant:
    try:
        result, asked = (parse_object(read_file(run / name, JSON_BYTES)) for name in ("results.json", "run.json"))
        data = asked["facts"]["data"]
        options, dense, cut, finetuned = asked["options"], result["dense"], result["pruned"], result["finetuned"]
        groups = [g["kept"] / g["channels"] for g in result["groups"] if g["prunable"]]
        return Variant(
            network=f"{options['model']} on {options['data']}",
            method=str(options["method"]),
            budget=str(options["budget"]),
            dense=float(dense["test_accuracy"]),
            chance=100 / len(data["classes"]),
            images=int(data["test"]),
            operations=float(cut["nonzero_macs"] / dense["macs"]),
            parameters=float(cut["nonzero_params"] / dense["params"]),
            groups=tuple(float(g) for g in groups) or (1.0,),
            epochs=int(options["epochs"] if options["finetune_epochs"] is None else options["finetune_epochs"]),
            cut=float(cut["test_accuracy"]),
            finetuned=float(finetuned["test_accuracy"]),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"the run is damaged: {type(error).__name__.lower()}: {error}", where=str(run), remedy="make the run again"
        ) from error


def _features(variants: Sequence[Variant], methods: Sequence[str]) -> Floats:
    """[variants, `FEATURES` and two for each method: that it is the one, and that times `operations`]."""
    rows: list[list[float]] = []
    for v in variants:
        groups = np.array(v.groups)
        operations = float(np.log2(max(v.operations, 1e-6)))
        spread = float(np.std(np.log2(np.maximum(groups, 1e-6))))
        row = [operations, float(np.log2(max(v.parameters, 1e-6))), float(np.log2(max(groups.min(), 1e-6))), spread,
               float(np.log2(1 + v.epochs))]  # fmt: skip
        for method in methods:
            row += [float(v.method == method), float(v.method == method) * operations]
        rows.append(row)
    return np.array(rows)


_LEAST, _MOST = 0.01, 0.9995
"""Share of the way from chance to all right below which, and above which, scores count as one: a cut network that
guesses tells nothing by how it does."""


def _logit(percent: Floats, chance: Floats) -> Floats:
    """Of the way from chance to all right."""
    share = np.clip((percent - chance) / (100 - chance), _LEAST, _MOST)
    return np.log(share / (1 - share))


def _percent(logit: Floats, chance: Floats) -> Floats:
    return chance + (100 - chance) / (1 + np.exp(-logit))


@dataclass(frozen=True)
class _Line:
    """Coefficients of standardised features, and what is left over.

    Attributes:
        centre, scale, slope: [features]. at: [1], value at the centre.
        errors: of each run by a line that was fitted without those of its budget, ascending, [runs].
    """

    centre: Floats
    scale: Floats
    slope: Floats
    at: Floats
    errors: Floats

    @staticmethod
    def fit(features: Floats, target: Floats, budgets: Sequence[str]) -> _Line:
        each = np.arange(len(target))
        sizes = [float((_Line._left_out(features, target, each, p) ** 2).mean()) for p in PENALTIES]
        penalty = PENALTIES[int(np.argmin(sizes))]
        # Of one budget alone there is nothing but single runs to leave out.
        groups = np.array(budgets) if len(set(budgets)) > 1 else each
        errors = np.sort(np.abs(_Line._left_out(features, target, groups, penalty)))
        return replace(_Line._ridge(features, target, penalty), errors=errors)

    @staticmethod
    def _left_out(features: Floats, target: Floats, groups: NDArray[Any], penalty: float) -> Floats:
        """Errors on each group by a line through all others, [runs]."""
        errors = np.zeros(len(target))
        for group in np.unique(groups):
            out = groups == group
            errors[out] = target[out] - _Line._ridge(features[~out], target[~out], penalty).of(features[out])
        return errors

    @staticmethod
    def _ridge(features: Floats, target: Floats, penalty: float) -> _Line:
        centre, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        x, at = (features - centre) / scale, target.mean()
        slope = np.linalg.solve(x.T @ x + penalty * len(x) * np.eye(x.shape[1]), x.T @ (target - at))
        return _Line(centre, scale, slope, np.array([at]), np.zeros(0))

    def of(self, features: Floats) -> Floats:
        return self.at[0] + ((features - self.centre) / self.scale) @ self.slope


class Accuracy:
    """Predicts scores of pruned variants, in percent; see this module."""

    name = "accuracy"

    def __init__(self) -> None:
        self.methods: tuple[str, ...] = ()
        self.networks: tuple[str, ...] = ()
        self.runs = 0
        self._lines: dict[str, _Line] = {}

    def fit(self, variants: Sequence[Variant]) -> Self:
        """Learn from runs.

        Raises:
            InputError: there are too few, or one has no score.
        """
        if len(variants) < LEAST_RUNS:
            raise InputError(
                f"{len(variants)} runs are too few to learn from",
                where="predictor accuracy",
                remedy=f"give {LEAST_RUNS} or more: proprune explore with several budgets and methods",
            )
        bad = [v for v in variants if not all(0 <= x <= 100 for x in (v.dense, v.cut, v.finetuned))]
        if bad:
            raise InputError(
                f"the run with {bad[0].method} {bad[0].budget} has scores that are no percentages",
                where="predictor accuracy",
                remedy="give runs whose metric is the accuracy",
            )
        self.methods = tuple(sorted({v.method for v in variants}))
        self.networks = tuple(sorted({v.network for v in variants}))
        self.runs = len(variants)
        features = _features(variants, self.methods)
        chance = _chance(variants)
        dense = self._dense(variants)
        for score in SCORES:
            reached = np.array([float(getattr(v, score)) for v in variants])
            target = _logit(reached, chance) - dense
            self._lines[score] = _Line.fit(features, target, [v.budget for v in variants])
        return self

    def predict(
        self, variants: Sequence[Variant], score: Score = "finetuned", coverage: float = COVERAGE
    ) -> Prediction:
        """Scores of variants, whose own are not looked at, with their intervals.

        Raises:
            UsageError: nothing was fitted, or ``coverage`` is no share.
        """
        if not 0 < coverage < 1:
            raise UsageError(f"{coverage} is no share", where="coverage", remedy="give a number between 0 and 1")
        line = self._line(score)
        chance, value = _chance(variants), self._dense(variants) + line.of(_features(variants, self.methods))
        place = int(np.ceil((len(line.errors) + 1) * coverage)) - 1
        width = float(line.errors[place]) if place < len(line.errors) else float("inf")
        low, high = (_percent(np.clip(value + side * width, -700, 700), chance) for side in (-1, 1))
        said = f"predicted, from {self.runs} runs of {', '.join(self.networks)}"
        return Prediction(score, _percent(value, chance), low, high, coverage, said)

    def explain(self, variant: Variant, score: Score = "finetuned") -> dict[str, float]:
        """Points that each feature takes from the dense score or adds to it, one after the other; their sum is the
        score."""
        line = self._line(score)
        features = _features([variant], self.methods)[0]
        parts = line.slope * (features - line.centre) / line.scale
        named: dict[str, float] = {"what all runs lose": float(line.at[0])}
        named |= dict(zip(FEATURES, parts.tolist(), strict=False))
        named["method"] = float(parts[len(FEATURES) :].sum())
        dense = float(self._dense([variant])[0])
        steps = _percent(dense + np.cumsum([0.0, *named.values()]), np.array([variant.chance]))
        return {"dense": float(steps[0]), **dict(zip(named, np.diff(steps).tolist(), strict=True))}

    def save(self, path: Path) -> None:
        """Write the predictor as an ``.npz`` file of numbers."""
        about = {"kind": "accuracy-predictor", "version": VERSION, "methods": list(self.methods),
                 "networks": list(self.networks), "runs": self.runs}  # fmt: skip
        arrays: dict[str, NDArray[Any]] = {
            f"{score}.{f.name}": getattr(self._line(score), f.name) for score in SCORES for f in fields(_Line)
        }
        arrays["about"] = np.frombuffer(json.dumps(about, sort_keys=True).encode(), dtype=np.uint8)
        out = io.BytesIO()
        np.savez_compressed(out, **arrays)  # pyright: ignore[reportArgumentType]
        write_whole(path, out.getvalue())

    @classmethod
    def load(cls, path: Path) -> Accuracy:
        """What `save` wrote.

        Raises:
            InputError: the file is not there, damaged, or of another version.
        """

        def fault(what: str) -> InputError:
            return InputError(f"the file is no predictor: {what}", where=str(path), remedy="fit and save one again")

        try:
            arrays = read_npz(path)
            about = parse_object(arrays["about"].astype(np.uint8).tobytes())
            if about.get("kind") != "accuracy-predictor" or about.get("version") != VERSION:
                raise fault(f"version {about.get('version')} of {about.get('kind')!r}, and this is {VERSION}")
            found = cls()
            found.methods = tuple(str(m) for m in about["methods"])
            found.networks = tuple(str(n) for n in about["networks"])
            found.runs = int(about["runs"])
            count = len(FEATURES) + 2 * len(found.methods)
            for score in SCORES:
                line = _Line(**{f.name: arrays[f"{score}.{f.name}"].astype(np.float64) for f in fields(_Line)})
                shapes = [x.shape for x in (line.centre, line.scale, line.slope, line.at)]
                whole = all(np.isfinite(getattr(line, f.name)).all() for f in fields(_Line))
                if shapes != [(count,)] * 3 + [(1,)] or line.errors.ndim != 1 or not whole or (line.scale <= 0).any():
                    raise fault("numbers are missing, or none")
                found._lines[score] = line
        except FileNotFoundError as error:
            raise InputError("no such file", where=str(path), remedy="check the path") from error
        except (KeyError, ValueError, IndexError, TypeError, OSError) as error:
            raise fault(f"{type(error).__name__.lower()}: {error}") from error
        return found

    def _line(self, score: Score) -> _Line:
        if score not in self._lines:
            raise UsageError(
                f"the predictor {self.name} has learned nothing", where="fit", remedy="fit it, or load one that was"
            )
        return self._lines[score]

    def _dense(self, variants: Sequence[Variant]) -> Floats:
        return _logit(np.array([v.dense for v in variants]), _chance(variants))


def _chance(variants: Sequence[Variant]) -> Floats:
    return np.array([v.chance for v in variants])
