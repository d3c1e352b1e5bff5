"""A layer's descriptor and tables, decoded and checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.memory import Area, Memory

LOOKUP_WORDS = 256 // isa.WORD_BYTES
"""Words of a lookup table."""


@dataclass(frozen=True)
class Layer:
    """What all steps of a layer share.

    Attributes:
        d: the descriptor, with plain integers.
        patterns: int64 [pattern_count, IC], cells.
        lane_byte: int64 [IC], the byte of the group word that each lane takes.
        input: shape of the input planes.
        lookup: int64 [256], the table by code mod 256; ``None`` where the layer has none.
    """

    array: Array
    d: isa.LayerDescriptor
    patterns: NDArray[np.int64]
    lane_byte: NDArray[np.int64]
    input: Area
    lookup: NDArray[np.int64] | None

    @property
    def is_max(self) -> bool:
        return int(self.d.mode) == isa.Mode.MAX


LANES_PER_SELECT = 16
"""Lanes whose byte numbers one ``lane_select`` word holds, 3 bits each."""


def decode_layer(array: Array, d: isa.LayerDescriptor, memory: Memory, site: Site) -> Layer:
    """Read a layer's tables and check its descriptor.

    Raises:
        InputError: a field is outside what the array can do.
    """
    for name, values in (("mode", isa.Mode), ("combine", isa.Combine), ("lookup", isa.Lookup)):
        if int(getattr(d, name)) not in tuple(values):
            raise site.fault(f"{name} {getattr(d, name)} is unknown")
    if not 1 <= int(d.groups_per_chunk) <= array.ic_groups:
        raise site.fault(f"{d.groups_per_chunk} channel groups in a chunk; the array holds 1 to {array.ic_groups}")
    area = Area(int(d.in_height), int(d.in_width), int(d.in_pitch))
    if area.pitch < area.width:
        raise site.fault(f"in_pitch is {area.pitch}, but the input's rows have {area.width} words")
    if min(int(d.out_step_y), int(d.out_step_x)) < 1:
        raise site.fault(
            f"output steps of {d.out_step_y} rows and {d.out_step_x} pixels store every pixel in one place"
        )
    count = int(d.pattern_count)
    if not 1 <= count <= array.max_patterns:
        raise site.fault(f"{count} lane patterns; the array holds 1 to {array.max_patterns}")
    table = memory.table(int(d.pattern_table), count * array.pattern_words, site, "the pattern table")
    patterns = table.view("<u2").reshape(count, array.ic).astype(np.int64)
    selects = (int(d.lane_select_0), int(d.lane_select_1))
    lane_byte = [selects[lane // LANES_PER_SELECT] >> 3 * (lane % LANES_PER_SELECT) & 7 for lane in range(array.ic)]
    return Layer(array, d, patterns, np.array(lane_byte, dtype=np.int64), area, _lookup(d, memory, site))


def _lookup(d: isa.LayerDescriptor, memory: Memory, site: Site) -> NDArray[np.int64] | None:
    """A copy of the layer's table: it is read once, before the layer writes anything."""
    if int(d.lookup) == isa.Lookup.NONE:
        return None
    words = memory.table(int(d.lookup_table), LOOKUP_WORDS, site, "the lookup table")
    return words.view(np.int8).astype(np.int64)
