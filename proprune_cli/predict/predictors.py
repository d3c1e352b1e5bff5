"""All predictors by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proprune_cli.predict.analytic import Analytic
from proprune_cli.predict.base import Predictor, load_predictor
from proprune_cli.predict.per_layer import Corrected, PerLayer
from proprune_cli.predict.whole_network import Boosted, Linear, Mlp, Operations

PREDICTORS: dict[str, Callable[[], Predictor]] = {
    kind.name: kind for kind in (Operations, Linear, Boosted, Mlp, PerLayer, Analytic, Corrected)
}
"""From the simplest on."""


def load(path: Path) -> Predictor:
    """The predictor that `Predictor.save` wrote to ``path``.

    Raises:
        InputError: it is none, damaged, or of another version.
    """
    return load_predictor(path, PREDICTORS)
