"""Waits: which step of the program has to be complete before another one loads, row by row of every tensor.

The engine starts a layer while the one before it still computes and stores. A step may load as soon as the rows it
reads are complete, whatever is below them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.compile.lower.engine_layer import EngineLayer, View
from proprune_cli.compile.lower.tile import Tiling

Steps = NDArray[np.int64]


def waits(layers: Sequence[EngineLayer], tilings: list[Tiling]) -> list[Steps]:
    """The ``depends`` field of every step of every one of ``layers``, which run in this order.

    What the host wrote, before the program or between two layers, is there before the engine starts.
    """
    complete: dict[str, Steps] = {}
    result: list[Steps] = []
    begin = 0
    for layer, tiling in zip(layers, tilings, strict=True):
        steps = tiling.steps
        index = begin + np.arange(np.size(steps.iterations))
        # How many steps of the program must be complete.
        need = np.maximum(_input_need(layer, tiling, complete), _residual_need(layer, steps, complete))
        distance = index + 1 - need
        result.append(np.where(distance < isa.STEPS_IN_FLIGHT, distance, 0))
        written = _rows_written(layer, tiling, index)
        known = complete.get(layer.y)
        complete[layer.y] = written if known is None else np.maximum(known, written)
        begin += len(index)
    return result


def _rows_written(layer: EngineLayer, tiling: Tiling, index: Steps) -> Steps:
    """For each row of the output planes, how many steps of the program complete it and the rows above it."""
    rows = np.zeros(layer.output.plane[0], dtype=np.int64)
    row, step = tiling.emitting
    np.maximum.at(rows, layer.output.first[0] + row * layer.output.step[0], index[step] + 1)
    return np.maximum.accumulate(rows)


def _input_need(layer: EngineLayer, tiling: Tiling, complete: dict[str, Steps]) -> Steps:
    end, first_group, end_group = tiling.reach
    return _need(layer.view, complete, np.minimum(end, layer.view.height) - 1, first_group, end_group)


def _residual_need(layer: EngineLayer, steps: isa.StepDescriptor, complete: dict[str, Steps]) -> Steps:
    if layer.residual is None:
        return np.zeros(np.size(steps.iterations), dtype=np.int64)
    view = layer.residual.view
    row = (np.asarray(steps.oy0) + np.asarray(steps.tile_height) - 1) * layer.output.step[0]
    need = _need(view, complete, np.zeros_like(row) if layer.residual.broadcast else row)
    return need * (np.asarray(steps.emit_blocks) > 0)


def _need(
    view: View, complete: dict[str, Steps], row: Steps, first_group: Steps | None = None, end_group: Steps | None = None
) -> Steps:
    """Steps that must be complete before rows up to ``row`` of some groups of ``view`` can be read."""
    need = np.zeros(len(row), dtype=np.int64)
    of_storage: dict[str, list[int]] = {}
    if len(view.storages) == 1:
        of_storage[view.groups[0][0]] = [0, len(view.groups) - 1]
    else:
        for position, (name, _) in enumerate(view.groups):
            of_storage.setdefault(name, []).append(position)
    for name, positions in of_storage.items():
        rows = complete.get(name)
        if rows is None:
            continue
        before = view.rows[positions[0]] if view.rows else 0
        at = rows[np.maximum(np.minimum(before + view.top + row, len(rows) - 1), 0)] * (view.top + row >= 0)
        if first_group is not None and end_group is not None:
            # A storage's groups may lie apart; reading between them costs a needless wait at most.
            at = at * ((first_group <= positions[-1]) & (end_group > positions[0]))
        need = np.maximum(need, at)
    return need
