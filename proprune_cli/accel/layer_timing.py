"""A layer among layers of its kind: what the timing model says of one tiling, or of many at once.

Nobody knows yet what runs before the layer, so a layer just like it does: two of it run one after the other, the second
one waiting for the rows of the first one's output that correspond to those it reads, and nothing lies on chip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.step_costs import StepCosts, limits
from proprune_cli.accel.timing import LayerTiming, chain
from proprune_cli.accel.walk import walk

Ints = NDArray[np.int64]


def layer_timing(
    name: str, layer: isa.LayerDescriptor, steps: isa.StepDescriptor, array: Array, memory: Memory
) -> LayerTiming:
    """What a layer adds after one of its own kind.

    Args:
        layer: one row. steps: its columnar step descriptors; addresses are not used.
    """
    count = np.array([np.size(steps.iterations)])
    costs = StepCosts.of(layer, steps, count, array, memory, np.zeros(count, dtype=np.int64))
    waits = np.concatenate([np.zeros(count, dtype=np.int64), _waits_for_like(layer, steps, count)])
    return chain((name, name), np.repeat(count, 2), costs.twice(), waits, (), array, memory)[1]


def cycles_of_each(
    layer: isa.LayerDescriptor, steps: isa.StepDescriptor, counts: Ints, array: Array, memory: Memory
) -> list[int]:
    """Cycles by `layer_timing` of each of several tilings of a layer.

    Args:
        layer: one row, whose fields that differ between tilings are not used. steps: of all of them, one after the
            other. counts: of the steps of each.
    """
    total = int(counts.sum())
    ends = np.cumsum(counts)
    costs = StepCosts.of(layer, steps, counts, array, memory, np.zeros(total, dtype=np.int64))
    waits = _waits_for_like(layer, steps, counts).tolist()
    rows, none = costs.rows(), [0] * int(counts.max())
    found: list[int] = []
    for end_step, count in zip(ends.tolist(), counts.tolist(), strict=True):
        part = slice(end_step - count, end_step)
        done = walk(rows[part] * 2, none[:count] + waits[part], (), limits(array, memory))
        started, end = done[count - 1], done[-1]
        found.append(round(end) - round(started))
    return found


def _waits_for_like(layer: isa.LayerDescriptor, steps: isa.StepDescriptor, counts: Ints) -> Ints:
    """Steps back that each step waits for when a layer with the same steps came just before, int64 [steps].

    Args:
        counts: of the steps of each of several tilings.
    """
    starts = np.cumsum(counts) - counts
    tiling = np.repeat(np.arange(len(counts)), counts)
    index = np.arange(len(tiling)) - starts[tiling]
    top = np.asarray(steps.oy0)
    height = int((top + np.asarray(steps.tile_height)).max())
    last_row = np.minimum(np.asarray(steps.y0) + np.asarray(steps.rows), layer.in_height)
    wanted = np.ceil(np.maximum(last_row, 0) * (height / int(layer.in_height)))
    # The last step that begins above the wanted row completes it. Rows of one tiling lie above those of the next.
    apart = tiling * (2.0 * height + 2.0)
    needed = np.searchsorted(top + apart, wanted + apart, side="left") - starts[tiling]
    return np.minimum(counts[tiling] + index + 1 - needed, isa.STEPS_IN_FLIGHT)
