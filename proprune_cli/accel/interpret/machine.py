"""The state that a program runs on: the DDR buffer with its bounds, and what the current layer has written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.interpret.faults import Site

Address = NDArray[np.int64]
"""Word addresses."""

LOOKUP_WORDS = 256 // isa.WORD_BYTES
"""Words of a lookup table."""


@dataclass(frozen=True)
class Area:
    """``height`` rows of ``width`` words in DDR, ``pitch`` words apart: the shape of a layer's input planes."""

    height: int
    width: int
    pitch: int

    @property
    def words(self) -> int:
        """Words from its first to its last, both included."""
        return (self.height - 1) * self.pitch + self.width if self.height and self.width else 0

    def of(self, plane: NDArray[Any]) -> NDArray[Any]:
        """[height, width] view of ``plane``, which has at least :attr:`words` entries."""
        size = plane.itemsize
        return as_strided(plane, (self.height, self.width), (self.pitch * size, size))


@dataclass
class Memory:
    """The DDR buffer. Reads and writes are checked against its bounds and against the order that the engine guarantees.

    Attributes:
        words: uint64 [size], changed in place.
        read_only: address intervals [from, to) that no layer may write: the image and the counters.
    """

    words: Words
    read_only: tuple[tuple[int, int], ...] = ()
    _writer: NDArray[np.int32] = field(init=False)
    _layer: int = field(init=False, default=0)
    _written: tuple[int, int] = field(init=False, default=(0, 0))  # bounds of what the current layer has written

    def __post_init__(self) -> None:
        # The layer (counted from 1) that last wrote each word.
        self._writer = np.zeros(self.words.size, dtype=np.int32)

    def start_layer(self) -> None:
        """From here on, words that the previous layer wrote may be read."""
        self._layer += 1
        self._written = (self.words.size, 0)

    def table(self, address: int, count: int, site: Site, name: str) -> Words:
        """uint64 [count] at ``address``: descriptors, tables and weight streams.

        Raises:
            InputError: it reaches beyond the buffer.
        """
        if address + count > self.words.size:
            raise site.fault(
                f"{name} [{address}, {address + count}) reaches beyond the buffer of {self.words.size} words"
            )
        return self.words[address : address + count]

    def pixels(self, address: int, area: Area, window: tuple[slice, slice], site: Site) -> NDArray[np.int8]:
        """int8 [rows, cols, 8]: the part ``window`` (rows, columns) of the feature plane at ``address``.

        Raises:
            InputError: the plane is out of bounds.
        """
        words = area.of(self.table(address, area.words, site, "feature plane"))[window]
        return np.ascontiguousarray(words).view(np.int8).reshape(*words.shape, isa.GROUP)

    def check_unwritten(self, address: int, area: Area, window: tuple[slice, slice], site: Site) -> None:
        """Check that the layer has not written to part of a feature plane up to now.

        Raises:
            InputError: it has.
        """
        low, high = self._written
        if address <= high and address + area.words > low:
            writers = area.of(self._writer[address : address + area.words])[window]
            if np.any(writers == self._layer):
                raise site.fault(f"the input plane at {address} is read where an earlier step of the layer wrote")

    def gather(self, addresses: Address, site: Site) -> NDArray[np.int8]:
        """int8 [..., 8]: the codes of the words at ``addresses`` (residual operands).

        Raises:
            InputError: out of bounds, or this layer has written to what is read.
        """
        if addresses.max() >= self.words.size:
            raise site.fault(f"residual address {addresses.max()} is beyond the buffer of {self.words.size} words")
        if np.any(self._writer[addresses] == self._layer):
            raise site.fault("a residual operand is read where the layer has already written")
        return self.words[addresses].view(np.int8).reshape(*addresses.shape, isa.GROUP)

    def scatter(self, addresses: Address, codes: NDArray[np.int8], site: Site) -> None:
        """Write int8 ``codes`` [n, 8] to the words at ``addresses`` [n].

        Raises:
            InputError: out of bounds, or into what no layer may write.
        """
        low, high = int(addresses.min()), int(addresses.max())
        if high >= self.words.size:
            raise site.fault(f"output address {high} is beyond the buffer of {self.words.size} words")
        for start, stop in self.read_only:
            if low < stop and high >= start and np.any((addresses >= start) & (addresses < stop)):
                raise site.fault(
                    f"an output is written into [{start}, {stop}), which holds the program or its counters"
                )
        self.words[addresses] = np.ascontiguousarray(codes).view("<u8").reshape(-1)
        self._writer[addresses] = self._layer
        self._written = (min(self._written[0], low), max(self._written[1], high))


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
