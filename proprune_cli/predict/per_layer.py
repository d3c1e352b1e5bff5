"""Predictors that look at one pass after the other and add up: boosted trees alone, and trees that mend the expert.

Both learn a factor for each pass: on its operations, or on what the expert's walk says of it. Passes weigh as much as
they take of their network, and networks weigh alike.
"""

from __future__ import annotations

import numpy as np

from proprune_cli.errors import InputError
from proprune_cli.predict.analytic import CYCLES, DDR_BYTES, ISSUED, figure_of, parts_of_passes, walked
from proprune_cli.predict.base import Arrays, Figure, Predictor
from proprune_cli.predict.columns import FIGURES, Floats, Rows
from proprune_cli.predict.features import ideal_cycles, pass_features
from proprune_cli.predict.trees import Trees

_LABELS = ("cycles", "ddr_bytes", "issued_macs")
"""What is learned of each pass; energy is made of them."""


_MOST_PASSES = 8_000
"""Passes that trees are fitted on, drawn from those of all rows: more make them slow, and hardly better."""


class _Factors(Predictor):
    """Learns factors on some figures of each pass."""

    def __init__(self) -> None:
        super().__init__()
        self._trees: dict[str, Trees] = {}
        self._features = 0

    def _grounds(self, rows: Rows) -> dict[str, Floats]:
        """What the factors are on, by label, [passes], all above 0."""
        raise NotImplementedError

    def _inputs(self, rows: Rows) -> Floats:
        """Features, [passes, features]."""
        raise NotImplementedError

    learned: tuple[str, ...] = _LABELS
    limits: tuple[float, float] = (1 / 64, 64.0)
    trees: int = 100

    def _fit(self, rows: Rows) -> None:
        rows = self._prepared(rows)
        if (rows.sums(np.nan_to_num(rows.passes["cycles"])) <= 0).any():
            raise InputError(
                "there are rows without cycles of their passes",
                where=f"predictor {self.name}",
                remedy="fit a predictor of whole networks, which needs none",
            )
        inputs, grounds = self._inputs(rows), self._grounds(rows)
        self._features = inputs.shape[1]
        drawn = np.sort(np.random.default_rng(0).permutation(len(inputs))[:_MOST_PASSES])
        for label in self.learned:
            ground = grounds[label]
            share = ground / np.maximum(rows.sums(ground)[rows.owner], 1e-9)
            factor = np.clip(rows.passes[label] / ground, *self.limits)
            self._trees[label] = Trees.fit(inputs[drawn], (factor - 1)[drawn], share[drawn], trees=self.trees)

    def _prepared(self, rows: Rows) -> Rows:
        return rows

    def _learned(self, rows: Rows, figure: Figure) -> dict[str, Floats]:
        rows = self._prepared(rows)
        found, inputs = self._grounds(rows), self._inputs(rows)
        for label, trees in self._trees.items():
            if figure == "latency_ms" and label != "cycles":
                continue
            found[label] = found[label] * np.clip(trees.predict(inputs) + 1, *self.limits)
        return found

    def _of_passes(self, rows: Rows, figure: Figure) -> Floats:
        found = self._learned(rows, figure)
        return figure_of(rows, figure, *(found[label] for label in _LABELS))

    def _values(self, rows: Rows, figure: Figure) -> Floats:
        return rows.sums(self._of_passes(rows, figure))

    def _parts(self, row: Rows, figure: Figure) -> dict[str, float]:
        return parts_of_passes(row, self._of_passes(row, figure))

    def _arrays(self) -> Arrays:
        found: Arrays = {"features": np.array([self._features])}
        for label, trees in self._trees.items():
            found |= trees.arrays(label)
        return found

    def _restore(self, arrays: Arrays) -> None:
        self._features = int(arrays["features"][0])
        self._trees = {label: Trees.of(arrays, label, self._features) for label in self.learned}


class PerLayer(_Factors):
    """Boosted trees over the features of a pass and of those beside it."""

    name = "layers"

    def _grounds(self, rows: Rows) -> dict[str, Floats]:
        walk = ideal_cycles(rows) + 64.0
        return {"cycles": walk, "ddr_bytes": walk * 8, "issued_macs": walk * 64}

    def _inputs(self, rows: Rows) -> Floats:
        return pass_features(rows)[0]


class Corrected(_Factors):
    """The expert, and a factor of boosted trees on its cycles and bytes of each pass."""

    name = "expert+residual"
    learned = ("cycles", "ddr_bytes")
    limits = (0.5, 2.0)
    trees = 50
    strengths = (0.0, 0.25, 0.5, 0.75, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.strength = 1.0
        """How far factors go from 1: as far as they help networks that they were not fitted on."""

    def _fit(self, rows: Rows) -> None:
        rows = walked(rows)
        names = np.unique(rows["network"].astype(str))
        apart = np.isin(rows["network"].astype(str), names[1::2])
        if len(names) > 1:
            found = np.zeros(len(self.strengths))
            for fold in (apart, ~apart):
                super()._fit(rows.take(~fold))
                found += self._errors(rows.take(fold))
            self.strength = self.strengths[int(np.argmin(found))]
        super()._fit(rows)

    def _errors(self, rows: Rows) -> Floats:
        """Mean errors of both figures with each of the `strengths`, [strengths]."""
        grounds, learned = self._grounds(rows), super()._learned(rows, "energy_mj")
        found = np.zeros(len(self.strengths))
        for figure in FIGURES:
            for place, strength in enumerate(self.strengths):
                mended = self._mended(grounds, learned, strength)
                values = figure_of(rows, figure, *(mended[label] for label in _LABELS))
                found[place] += np.abs(rows.sums(values) / rows[figure] - 1).mean()
        return found

    @staticmethod
    def _mended(grounds: dict[str, Floats], learned: dict[str, Floats], strength: float) -> dict[str, Floats]:
        return {
            label: ground * (learned[label] / np.maximum(ground, 1e-9)) ** strength for label, ground in grounds.items()
        }

    def _learned(self, rows: Rows, figure: Figure) -> dict[str, Floats]:
        rows = walked(rows)
        return self._mended(self._grounds(rows), super()._learned(rows, figure), self.strength)

    def _arrays(self) -> Arrays:
        return super()._arrays() | {"strength": np.array([self.strength])}

    def _restore(self, arrays: Arrays) -> None:
        super()._restore(arrays)
        self.strength = float(arrays["strength"][0])
        if not 0 <= self.strength <= 1:
            raise ValueError("a strength beyond 0 and 1")

    def _prepared(self, rows: Rows) -> Rows:
        return walked(rows)

    def _grounds(self, rows: Rows) -> dict[str, Floats]:
        passes = rows.passes
        return {
            "cycles": np.maximum(passes[CYCLES], 1.0),
            "ddr_bytes": np.maximum(passes[DDR_BYTES], 1.0),
            "issued_macs": passes[ISSUED],
        }

    def _inputs(self, rows: Rows) -> Floats:
        inputs, _ = pass_features(rows)
        ideal = np.log(np.maximum(rows.passes[CYCLES], 1.0) / ideal_cycles(rows))
        moved = np.log(np.maximum(rows.passes[DDR_BYTES], 1.0) / np.maximum(rows.passes[CYCLES], 1.0))
        return np.column_stack([inputs, ideal, moved])
