"""Gradient-boosted trees: fitted by scikit-learn, kept as arrays of numbers, evaluated here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NODES_AT_ONCE = 1 << 15
"""Rows times trees that are walked together: as many as stay in the processor's cache."""


@dataclass(frozen=True)
class Trees:
    """Sums of trees, one after the other in each column.

    Attributes:
        base: what is added to them, float64 [1]. roots: first node of each tree, int64 [trees].
        feature: of each node, -1 at leaves. threshold: at or below which a row goes ``left``, else ``right``, [nodes].
        value: of leaves, float64 [nodes].
    """

    base: Floats
    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats

    @staticmethod
    def fit(
        features: Floats,
        target: Floats,
        weight: Floats | None = None,
        *,
        trees: int = 200,
        leaves: int = 31,
        rate: float = 0.08,
    ) -> Trees:
        """Fit the squares of errors of ``target`` [rows] from ``features`` [rows, features]."""
        from sklearn import ensemble

        # The types of scikit-learn take defaults for all that there is, and leave open what fitting returns and hides.
        model = cast("Any", ensemble).HistGradientBoostingRegressor(
            max_iter=trees,
            max_leaf_nodes=leaves,
            learning_rate=rate,
            min_samples_leaf=10,
            max_bins=127,
            max_depth=8,
            early_stopping=False,
            random_state=0,
        )
        fitted = model.fit(features, target, sample_weight=weight)
        nodes = [tree[0].nodes for tree in fitted._predictors]
        starts = np.concatenate([[0], np.cumsum([len(n) for n in nodes])]).astype(np.int64)
        joined: Any = np.concatenate(nodes)
        offset = np.repeat(starts[:-1], np.diff(starts))
        leaf = joined["is_leaf"].astype(np.bool_)
        return Trees(
            np.asarray(fitted._baseline_prediction, dtype=np.float64).reshape(1),
            starts[:-1],
            np.where(leaf, -1, joined["feature_idx"].astype(np.int64)),
            joined["num_threshold"].astype(np.float64),
            np.where(leaf, 0, joined["left"].astype(np.int64) + offset),
            np.where(leaf, 0, joined["right"].astype(np.int64) + offset),
            joined["value"].astype(np.float64),
        )

    def predict(self, features: Floats) -> Floats:
        """Values of ``features`` [rows, features]."""
        out = np.empty(len(features))
        step = max(_NODES_AT_ONCE // max(len(self.roots), 1), 1)
        for begin in range(0, len(features), step):
            part = features[begin : begin + step]
            out[begin : begin + step] = self._of(part)
        return out

    def _of(self, features: Floats) -> Floats:
        at = np.broadcast_to(self.roots, (len(features), len(self.roots))).copy()
        line = np.arange(len(features))[:, None]
        while True:
            feature = self.feature[at]
            inner = feature >= 0
            if not inner.any():
                break
            low = features[line, feature] <= self.threshold[at]
            at = np.where(inner, np.where(low, self.left[at], self.right[at]), at)
        return self.base[0] + self.value[at].sum(axis=1)

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The columns by ``name`` and field."""
        return {f"{name}.{f.name}": getattr(self, f.name) for f in fields(self)}

    @staticmethod
    def of(arrays: dict[str, NDArray[Any]], name: str, features: int) -> Trees:
        """What `arrays` gave, for rows of ``features``.

        Raises:
            KeyError: a column is missing. ValueError: a node leads nowhere, or back.
        """

        def floats(field: str) -> Floats:
            return arrays[f"{name}.{field}"].astype(np.float64)

        def ints(field: str) -> Ints:
            return arrays[f"{name}.{field}"].astype(np.int64)

        trees = Trees(
            floats("base"), ints("roots"), ints("feature"), floats("threshold"), ints("left"), ints("right"),
            floats("value"),
        )  # fmt: skip
        count = len(trees.feature)
        inner = trees.feature >= 0
        here = np.flatnonzero(inner)
        whole = all(len(c) == count and c.ndim == 1 for c in (trees.threshold, trees.left, trees.right, trees.value))
        if not whole or len(trees.base) != 1 or trees.feature.max(initial=-1) >= features:
            raise ValueError("trees of other rows")
        if len(trees.roots) and not 0 <= trees.roots.min() <= trees.roots.max() < count:
            raise ValueError("a tree without a root")
        for child in (trees.left, trees.right):
            # Children lie behind their parents, so that every walk ends.
            if ((child[here] <= here) | (child[here] >= count)).any():
                raise ValueError("a tree that never ends")
        if not (np.isfinite(trees.value).all() and np.isfinite(trees.base).all()) or np.isnan(trees.threshold).any():
            raise ValueError("leaves that are no numbers")
        return trees
