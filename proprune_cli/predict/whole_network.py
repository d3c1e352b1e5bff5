"""Predictors that see a network as a whole: a line through its operations, boosted trees, a small neural network."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import numpy as np

from proprune_cli.predict.base import Arrays, Figure, Predictor
from proprune_cli.predict.columns import FIGURES, Floats, Rows
from proprune_cli.predict.features import network_features
from proprune_cli.predict.trees import Trees


class Linear(Predictor):
    """A line through the operations: the baseline that everybody uses.

    Milliseconds of a network are those of its non-zero multiply-accumulates on an array that is always full, of its
    weights and of its tensors at the planned bandwidth, and some for each pass, each times a coefficient that is fitted
    to relative errors and not below 0.
    """

    name = "linear"
    terms: tuple[str, ...] = ("multiply-accumulates", "parameters", "tensors", "passes")

    def __init__(self) -> None:
        super().__init__()
        self._coefficients: dict[str, Floats] = {}

    def _columns(self, rows: Rows, figure: Figure) -> Floats:
        passes = rows.passes
        pace = rows.per_row(lambda _, array, memory: [array.macs_per_cycle, memory.bytes_per_cycle])
        tensors = rows.sums(passes["in_channels"] * passes["in_h"] * passes["in_w"])
        tensors += rows.sums(passes["out_channels"] * passes["out_h"] * passes["out_w"])
        found = np.stack(
            [
                rows["nonzero_macs"] / pace[:, 0],
                rows["params"] / pace[:, 1],
                tensors / pace[:, 1],
                np.diff(rows.starts) * 100.0,
            ],
            axis=1,
        )[:, : len(self.terms)]
        found = found / (rows["clock_mhz"] * 1e3 * rows["batch"])[:, None]
        if figure == "energy_mj":
            found = found * rows.per_row(lambda board, _, __: board.energy.static_w.value)[:, None]
        return found

    def _fit(self, rows: Rows) -> None:
        from scipy.optimize import nnls

        for figure in FIGURES:
            relative = self._columns(rows, figure) / rows[figure][:, None]
            self._coefficients[figure] = np.asarray(nnls(relative, np.ones(len(rows)))[0], dtype=np.float64)

    def _values(self, rows: Rows, figure: Figure) -> Floats:
        return np.maximum(self._columns(rows, figure) @ self._coefficients[figure], 1e-9)

    def _parts(self, row: Rows, figure: Figure) -> dict[str, float]:
        values = (self._columns(row, figure)[0] * self._coefficients[figure]).tolist()
        return dict(zip(self.terms, values, strict=True))

    def _arrays(self) -> Arrays:
        return dict(self._coefficients)

    def _restore(self, arrays: Arrays) -> None:
        self._coefficients = {figure: _finite(arrays[figure], (len(self.terms),)) for figure in FIGURES}


class Operations(Linear):
    """The same with multiply-accumulates alone."""

    name = "operations"
    terms = ("multiply-accumulates",)


class _Whole(Predictor):
    """Learns the logarithm of a figure over that of its operations."""

    def __init__(self) -> None:
        super().__init__()
        self._centre: Floats = np.zeros(0)

    def _learn(self, features: Floats, target: Floats, figure: Figure) -> None:
        raise NotImplementedError

    def _say(self, features: Floats, figure: Figure) -> Floats:
        raise NotImplementedError

    def _fit(self, rows: Rows) -> None:
        features, _ = network_features(rows)
        self._centre = np.median(features, axis=0)
        for figure in FIGURES:
            self._learn(features, np.log(rows[figure] / self._scale(rows, figure, features)), figure)

    def _scale(self, rows: Rows, figure: Figure, features: Floats) -> Floats:
        ms = np.exp(features[:, 0]) / (rows["clock_mhz"] * 1e3 * rows["batch"])
        return ms * rows.per_row(lambda board, _, __: board.energy.static_w.value) if figure == "energy_mj" else ms

    def _values(self, rows: Rows, figure: Figure) -> Floats:
        features, _ = network_features(rows)
        return np.exp(self._say(features, figure)) * self._scale(rows, figure, features)

    def _parts(self, row: Rows, figure: Figure) -> dict[str, float]:
        """From the middle network of those fitted to this one, feature by feature: what each step adds."""
        features, names = network_features(row)
        scale = float(self._scale(row, figure, features)[0])
        steps = np.tile(self._centre, (len(names) + 1, 1))
        for number in range(len(names)):
            steps[number + 1 :, number] = features[0, number]
        values = np.exp(self._say(steps, figure)) * scale
        parts = {"operations, as of the middle network": float(values[0])}
        return parts | dict(zip(names, np.diff(values).tolist(), strict=True))

    def _restore(self, arrays: Arrays) -> None:
        self._centre = _finite(arrays["centre"], (len(arrays["centre"]),))


class Boosted(_Whole):
    """Boosted trees over features of the network."""

    name = "network"

    def __init__(self) -> None:
        super().__init__()
        self._trees: dict[str, Trees] = {}

    def _learn(self, features: Floats, target: Floats, figure: Figure) -> None:
        self._trees[figure] = Trees.fit(features, target, trees=250, leaves=15)

    def _say(self, features: Floats, figure: Figure) -> Floats:
        return self._trees[figure].predict(features)

    def _arrays(self) -> Arrays:
        found: Arrays = {"centre": self._centre}
        for figure, trees in self._trees.items():
            found |= trees.arrays(figure)
        return found

    def _restore(self, arrays: Arrays) -> None:
        super()._restore(arrays)
        self._trees = {figure: Trees.of(arrays, figure, len(self._centre)) for figure in FIGURES}


class Mlp(_Whole):
    """A neural network of two hidden layers over features of the network, brought to mean 0 and deviation 1."""

    name = "mlp"
    hidden = (64, 32)

    def __init__(self) -> None:
        super().__init__()
        self._layers: dict[str, list[Floats]] = {}
        self._mean, self._deviation = np.zeros(0), np.ones(0)

    def _learn(self, features: Floats, target: Floats, figure: Figure) -> None:
        import warnings

        from sklearn import neural_network
        from sklearn.exceptions import ConvergenceWarning

        self._mean = features.mean(axis=0)
        # A feature that never changed says nothing of rows where it does.
        self._deviation = np.where(np.ptp(features, axis=0) > 0, np.maximum(features.std(axis=0), 1e-9), 1e9)
        # The types of scikit-learn take defaults for all that there is.
        model = cast("Any", neural_network).MLPRegressor(
            hidden_layer_sizes=self.hidden,
            activation="tanh",
            alpha=1e-3,
            learning_rate_init=3e-3,
            max_iter=300,
            batch_size=min(64, len(features)),
            n_iter_no_change=25,
            random_state=0,
        )
        with warnings.catch_warnings():
            # It ends when the epochs do.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = model.fit((features - self._mean) / self._deviation, target)
        pairs = zip(fitted.coefs_, fitted.intercepts_, strict=True)
        self._layers[figure] = [np.asarray(a, dtype=np.float64) for pair in pairs for a in pair]

    def _say(self, features: Floats, figure: Figure) -> Floats:
        # Where rows lie far outside of those seen, what the network says would mean nothing.
        values = np.clip((features - self._mean) / self._deviation, -5, 5)
        layers = self._layers[figure]
        for number in range(0, len(layers), 2):
            values = values @ layers[number] + layers[number + 1]
            if number + 2 < len(layers):
                values = np.tanh(values)
        return values[:, 0]

    def _arrays(self) -> Arrays:
        found: Arrays = {"centre": self._centre, "mean": self._mean, "deviation": self._deviation}
        for figure, layers in self._layers.items():
            found |= {f"{figure}.{n}": layer for n, layer in enumerate(layers)}
        return found

    def _restore(self, arrays: Arrays) -> None:
        super()._restore(arrays)
        width = len(self._centre)
        self._mean, self._deviation = _finite(arrays["mean"], (width,)), _finite(arrays["deviation"], (width,))
        sizes = (width, *self.hidden, 1)
        for figure in FIGURES:
            self._layers[figure] = []
            for number, (before, after) in enumerate(pairwise(sizes)):
                self._layers[figure].append(_finite(arrays[f"{figure}.{2 * number}"], (before, after)))
                self._layers[figure].append(_finite(arrays[f"{figure}.{2 * number + 1}"], (after,)))


def _finite(values: Any, shape: tuple[int, ...]) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError("weights of another shape, or that are no numbers")
    return found
