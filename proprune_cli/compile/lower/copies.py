"""Passes that move codes and change none: copies of views, rectangles of padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.compile.lower.engine_layer import EngineLayer, Phase, View
from proprune_cli.compile.lower.views import window_of
from proprune_cli.ir.graph import PadMode
from proprune_cli.ir.quantized import QTensor

COPY_CODE = 4
COPY_MULTIPLIER = (1 << 16) // COPY_CODE
"""A weight and a multiplier that requantise a code to itself."""


@dataclass(frozen=True)
class Run:
    """Pixels along one axis that keep their order: ``count`` of them from ``source`` on go to ``first`` and after."""

    source: int
    first: int
    count: int


def pad_runs(size: int, before: int, after: int, mode: PadMode) -> list[Run]:
    """What edge or reflect padding of ``size`` pixels copies: first the pixels, then those before, then those after."""
    mirror = mode == "reflect"
    runs = [Run(0, before, size)]
    runs += [Run(before - i if mirror else 0, i, 1) for i in range(before)]
    runs += [Run(size - 2 - i if mirror else size - 1, before + size + i, 1) for i in range(after)]
    return runs


def copy_layer(name: str, view: View, y: QTensor) -> EngineLayer:
    """A pass that gives ``y`` the codes of ``view``."""
    layer = EngineLayer(name, "max", view, y.name, y.channels, (y.height, y.width))
    if view.canonical:
        return layer
    weight = np.zeros((y.channels, len(view.groups) * isa.GROUP, 1), dtype=np.int8)
    weight[np.arange(y.channels), view.slots] = COPY_CODE
    return replace(
        layer,
        kind="dense",
        weight=weight,
        bias=np.zeros(y.channels, dtype=np.int32),
        multiplier=np.full(y.channels, COPY_MULTIPLIER, dtype=np.int32),
        orders=True,
    )


def rectangle_copy(name: str, view: View, y: QTensor, rows: Run, columns: Run) -> EngineLayer:
    """The pass that fills a rectangle of ``y`` from one of ``view``."""
    window = window_of(view, (rows.source, columns.source), (rows.count, columns.count))
    first, size = (rows.first, columns.first), (rows.count, columns.count)
    phase = Phase((y.height, y.width), first)
    return EngineLayer(f"{name}[{first[0]},{first[1]}]", "max", window, y.name, y.channels, size, phase=phase)
