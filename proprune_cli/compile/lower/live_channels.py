"""Engine layers that compute some channel groups of their output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.compile.cluster.known_codes import live_filters
from proprune_cli.compile.lower.engine_layer import EngineLayer


def live_groups(passes: list[EngineLayer]) -> list[int] | None:
    """Output groups in which a convolution has any filter that is not always 0.

    None where the passes are not one dense layer whose output stage does nothing yet but requantise, and perhaps clamp.
    """
    layer = passes[0]
    plain = len(passes) == 1 and layer.kind == "dense" and layer.phase is None
    if not plain or layer.residual is not None or layer.lookup != isa.Lookup.NONE:
        return None
    if layer.weight is None or layer.bias is None or layer.multiplier is None:
        return None
    live = live_filters(layer.weight, layer.bias, layer.multiplier)
    padded = np.pad(live, (0, -len(live) % isa.GROUP))
    return np.flatnonzero(padded.reshape(-1, isa.GROUP).any(axis=1)).tolist()


def with_groups(layer: EngineLayer, groups: list[int], y: str) -> EngineLayer:
    """``layer`` computing output groups ``groups`` alone, one after the other, into tensor ``y``."""
    assert layer.weight is not None and layer.bias is not None and layer.multiplier is not None
    channels = np.arange(layer.channels)
    rows = np.concatenate([channels[g * isa.GROUP : (g + 1) * isa.GROUP] for g in groups])
    return replace(
        layer,
        y=y,
        channels=len(rows),
        weight=layer.weight[rows],
        bias=layer.bias[rows],
        multiplier=layer.multiplier[rows],
    )
