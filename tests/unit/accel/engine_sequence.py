"""Several hand-made layers as one program: placed one behind the other, or each reading what the one before wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Record
from tests.unit.accel.engine_builder import Built

R = TypeVar("R", bound=Record)

TABLES = ("step_table", "group_table", "pattern_table", "residual_table", "lookup_table", "out_base")


@dataclass
class Sequence:
    """A program of several layers.

    Attributes:
        starts: where each layer's part of the buffer begins; what the layer was built from lies there, moved.
    """

    buffer: NDArray[np.uint64]
    layer_table: int
    counters: int
    steps: int
    starts: list[int]

    def layer(self, number: int) -> isa.LayerDescriptor:
        """Descriptor of a layer."""
        return read(isa.LayerDescriptor, self.buffer, self.layer_table, number)

    def change_layer(self, number: int, **fields: int) -> None:
        """Set fields of a layer's descriptor."""
        change(isa.LayerDescriptor, self.buffer, self.layer_table, number, **fields)

    def change_step(self, layer: int, number: int, **fields: int) -> None:
        """Set fields of a step's descriptor."""
        change(isa.StepDescriptor, self.buffer, int(self.layer(layer).step_table), number, **fields)


def read(record: type[R], buffer: NDArray[np.uint64], table: int, number: int) -> R:
    """Entry ``number`` of a table of records."""
    at = table + number * record.WORDS
    return record.decode(buffer[at : at + record.WORDS].copy()).row(0)


def change(record: type[Record], buffer: NDArray[np.uint64], table: int, number: int, **fields: int) -> None:
    """Set fields of entry ``number`` of a table of records."""
    at = table + number * record.WORDS
    old = read(record, buffer, table, number)
    buffer[at : at + record.WORDS] = record(**{**old.__dict__, **fields}).encode()[0]


def join(parts: list[Built], array: Array) -> Sequence:
    """One buffer with all parts, each moved as a whole, then the layer table and the counters."""
    port = array.weight_port_words
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + -(-part.buffer.size // port) * port)
    layer_table = starts.pop()
    counters = layer_table + len(parts) * isa.LayerDescriptor.WORDS
    buffer = np.zeros(counters + len(parts) * isa.LayerCounters.WORDS, dtype="<u8")
    for number, (part, start) in enumerate(zip(parts, starts, strict=True)):
        old = read(isa.LayerDescriptor, part.buffer, part.layer_table, 0)
        moved = {name: getattr(old, name) + start for name in TABLES}
        buffer[start : start + part.buffer.size] = part.buffer
        buffer[moved["group_table"] : moved["lookup_table"]] += np.uint64(start)  # input and residual planes
        for step in range(part.steps):
            weights = int(read(isa.StepDescriptor, part.buffer, int(old.step_table), step).weights)
            change(isa.StepDescriptor, buffer, moved["step_table"], step, weights=weights + start)
        words = isa.LayerDescriptor(**{**old.__dict__, **moved}).encode()[0]
        at = layer_table + number * isa.LayerDescriptor.WORDS
        buffer[at : at + isa.LayerDescriptor.WORDS] = words
    return Sequence(buffer, layer_table, counters, sum(part.steps for part in parts), starts)
