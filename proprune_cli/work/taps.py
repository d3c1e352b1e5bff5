"""Tap geometry: how the input channels of a layer are dealt to the lanes of a recursive engine, counted in one place.

A channel group fills the lanes of one part of the array. A *chunk* is as many groups as a tap reads at once; where a
chunk has fewer groups than there are parts, they repeat, and a tap serves several kernel positions (*slots*). Where a
layer has one group, single channels repeat in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.work.layer import Unit

Ints = NDArray[np.int64]

UNITS: dict[Unit, int] = {"dense": 0, "diagonal": 1, "max": 2}
"""Number of each unit in columns."""


@dataclass(frozen=True)
class LaneCounts:
    """The lanes of an array.

    Attributes:
        inputs: input lanes. outputs: output lanes. group: channels that are stored, and read, together.
    """

    inputs: int
    outputs: int
    group: int


@dataclass(frozen=True)
class Chunks:
    """Chunks of layers, int64 [layers] each.

    Attributes:
        in_groups: channel groups of the input. per_chunk: groups of a full chunk. count: chunks.
        slots: kernel positions that a tap of a full chunk serves. last_slots: one of the last chunk.
    """

    in_groups: Ints
    per_chunk: Ints
    count: Ints
    slots: Ints
    last_slots: Ints


def chunks(channels: Ints, unit: Ints, lanes: LaneCounts) -> Chunks:
    """Deal ``channels`` input channels of layers of kind ``unit`` (numbers of `UNITS`) to ``lanes``."""
    dense, parts = unit == UNITS["dense"], lanes.inputs // lanes.group
    in_groups = ceil_div(channels, lanes.group)
    per_chunk = np.minimum(np.where(dense, parts, lanes.outputs // lanes.group), in_groups)
    count = ceil_div(in_groups, per_chunk)
    last = in_groups - (count - 1) * per_chunk
    bytewise = dense & (in_groups == 1)
    alone = lanes.inputs // np.minimum(channels, lanes.inputs)

    def slots(groups: Ints) -> Ints:
        shared = np.where(unit == UNITS["max"], lanes.inputs // lanes.outputs, parts // groups)
        return np.where(bytewise, alone, shared)

    return Chunks(in_groups, per_chunk, count, slots(per_chunk), slots(last))


def chunks_of(channels: int, unit: Unit, lanes: LaneCounts) -> Chunks:
    """`chunks` of one layer, int64 [1] each."""
    return chunks(column([channels]), column([UNITS[unit]]), lanes)


def column(values: Sequence[int]) -> Ints:
    """int64 [layers]."""
    return np.asarray(values, dtype=np.int64)


def ceil_div(a: Ints, b: Ints | int) -> Ints:
    """a / b, rounded up."""
    return -(-a // b)
