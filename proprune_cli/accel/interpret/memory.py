"""What a program runs on: the DDR buffer and the engine's own memory, each read as late as the contract leaves open.

A step sees what the steps that it waits for have written, and nothing newer: it is as if every step kept its output
back until the contract requires it to be there. That is the latest order of writes; the C++ writes as early as it can.
A program that leaves the same bytes behind in both waits for all that it needs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.interpret.faults import Site

Address = NDArray[np.int64]
"""Word addresses, with the bit ``ON_CHIP`` where they lie in the engine's own memory."""

OFFSET = isa.ON_CHIP - 1
"""The bits of an address that count words."""

SCRAMBLE = 0x9E3779B97F4A7C15
"""An odd constant whose multiples have no pattern: what the engine's own memory holds before anything is written."""


@dataclass(frozen=True)
class Area:
    """``height`` rows of ``width`` words in memory, ``pitch`` words apart: the shape of a layer's input planes."""

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


@dataclass(frozen=True)
class Space:
    """One memory. ``writer``: int32, the step (counted from 1) that last wrote each word; 0 for the host."""

    name: str
    words: Words
    writer: NDArray[np.int32]

    @staticmethod
    def of(name: str, words: Words) -> Space:
        return Space(name, words, np.zeros(words.size, dtype=np.int32))


@dataclass(frozen=True)
class _Write:
    """What step ``step`` replaced: ``old`` are the words that were at ``addresses``, both [groups, P]."""

    step: int
    space: Space
    addresses: Address
    old: Words


@dataclass
class Memory:
    """Both memories of the engine. Reads and writes are checked against their bounds.

    Steps are counted from 1 over the run. Words are written at once, but what the last steps of a layer replace is
    remembered: a step that reads a word whose writer it does not wait for gets the word of before.

    Attributes:
        ddr: uint64 [size], the buffer, changed in place.
        scratch_words: size of the engine's own memory.
        read_only: intervals [from, to) of the buffer that no layer may write: the image and the counters.
    """

    ddr: Words
    scratch_words: int
    read_only: tuple[tuple[int, int], ...] = ()
    _off_chip: Space = field(init=False)
    _on_chip: Space = field(init=False)
    _first: int = field(init=False, default=1)  # the current layer's first step
    _remembered_from: int = field(init=False, default=1)  # the first of its last STEPS_IN_FLIGHT - 1 steps
    _written: tuple[int, int] = field(init=False, default=(0, 0))  # bounds of what the current layer has written
    _unfinished: deque[_Write] = field(init=False, default_factory=deque[_Write])
    # Writes of layers before the current one that one of its steps may not see: step, first and last address.
    _spans: Address = field(init=False)

    def __post_init__(self) -> None:
        self._off_chip = Space.of("the buffer", self.ddr)
        garbage = np.arange(1, self.scratch_words + 1, dtype=np.uint64) * np.uint64(SCRAMBLE)
        self._on_chip = Space.of("the engine's own memory", garbage)
        self.start_layer(1, 0)

    def start_layer(self, first: int, count: int) -> None:
        """The steps that follow belong to a layer of ``count`` steps, the first of which is number ``first``."""
        self._first, self._written = first, (1 << 32, 0)
        self._remembered_from = first + count - (isa.STEPS_IN_FLIGHT - 1)
        self._forget(first)
        rows = [
            (write.step, low, high)
            for write in self._unfinished
            for low, high in zip(
                write.addresses.min(axis=1).tolist(), write.addresses.max(axis=1).tolist(), strict=True
            )
        ]
        self._spans = np.array(rows, dtype=np.int64).reshape(-1, 3).T

    def table(self, address: int, count: int, site: Site, name: str) -> Words:
        """uint64 [count] at ``address`` of the buffer: descriptors, tables and weight streams.

        Raises:
            InputError: it reaches beyond the buffer.
        """
        if address + count > self.ddr.size:
            raise site.fault(
                f"{name} [{address}, {address + count}) reaches beyond the buffer of {self.ddr.size} words"
            )
        return self.ddr[address : address + count]

    def overtakes(self, planes: Address, area: Area, window: tuple[slice, slice], complete: int) -> NDArray[np.bool_]:
        """bool [planes]: parts ``window`` of planes that may hold words newer than step ``complete``.

        False is certain; where it is True, the words' writers tell.
        """
        steps, lows, highs = self._spans
        unfinished = steps > complete
        if not unfinished.any():
            return np.zeros(planes.size, dtype=np.bool_)
        rows, cols = window
        low = planes + (rows.start * area.pitch + cols.start)
        high = planes + ((rows.stop - 1) * area.pitch + cols.stop - 1)
        meet = np.logical_and(low[:, None] <= highs[unfinished], high[:, None] >= lows[unfinished])
        return meet.any(axis=1)

    def pixels(
        self, plane: int, area: Area, window: tuple[slice, slice], site: Site, before: int | None = None
    ) -> NDArray[np.int8]:
        """int8 [rows, cols, 8]: the part ``window`` (rows, columns) of the feature plane at address ``plane``.

        Args:
            before: the last step whose writes are to be seen, where :meth:`overtakes` has found newer ones.

        Raises:
            InputError: the plane is out of bounds.
        """
        space, start = self._at(plane)
        if start + area.words > space.words.size:
            raise site.fault(
                f"feature plane [{start}, {start + area.words}) reaches beyond {space.name} of {space.words.size} words"
            )
        part = slice(start, start + area.words)
        source = space.words
        if before is not None and np.any(area.of(space.writer[part])[window] > before):
            source = self._as_of(space, before)
        words = area.of(source[part])[window]
        return np.ascontiguousarray(words).view(np.int8).reshape(*words.shape, isa.GROUP)

    def check_unwritten(self, plane: int, area: Area, window: tuple[slice, slice], site: Site) -> None:
        """Check that the layer has not written to part of a feature plane up to now.

        Raises:
            InputError: it has.
        """
        low, high = self._written
        if plane <= high and plane + area.words > low:
            space, start = self._at(plane)
            if np.any(area.of(space.writer[start : start + area.words])[window] >= self._first):
                raise site.fault(f"the input plane at {start} is read where an earlier step of the layer wrote")

    def gather(self, addresses: Address, complete: int, site: Site) -> NDArray[np.int8]:
        """int8 [..., 8]: the codes of the words at ``addresses`` (residual operands) after step ``complete``.

        Raises:
            InputError: out of bounds or on chip, or this layer has written to what is read.
        """
        if np.any(addresses & isa.ON_CHIP):
            raise site.fault("a residual plane lies in the engine's own memory")
        if addresses.max() >= self.ddr.size:
            raise site.fault(f"residual address {addresses.max()} is beyond the buffer of {self.ddr.size} words")
        newest = int(self._off_chip.writer[addresses].max())
        if newest >= self._first:
            raise site.fault("a residual operand is read where the layer has already written")
        source = self.ddr if newest <= complete else self._as_of(self._off_chip, complete)
        return source[addresses].view(np.int8).reshape(*addresses.shape, isa.GROUP)

    def scatter(self, base: int, offsets: Address, codes: NDArray[np.int8], step: int, site: Site) -> None:
        """Write int8 ``codes`` [groups, P, 8] to the words at ``base + offsets``, offsets [groups, P].

        Raises:
            InputError: out of bounds, or into what no layer may write.
        """
        space, start = self._at(base)
        addresses = start + offsets
        low, high = int(addresses.min()), int(addresses.max())
        if high >= space.words.size:
            raise site.fault(f"output address {high} is beyond {space.name} of {space.words.size} words")
        for first, stop in self.read_only if space is self._off_chip else ():
            if low < stop and high >= first and np.any((addresses >= first) & (addresses < stop)):
                raise site.fault(
                    f"an output is written into [{first}, {stop}), which holds the program or its counters"
                )
        if step >= self._remembered_from:
            self._forget(step)
            self._unfinished.append(_Write(step, space, base + offsets, space.words[addresses]))
        space.words[addresses] = np.ascontiguousarray(codes).view("<u8").reshape(addresses.shape)
        space.writer[addresses] = step
        ends = (base - start + low, base - start + high)
        self._written = (min(self._written[0], ends[0]), max(self._written[1], ends[1]))

    def _at(self, address: int) -> tuple[Space, int]:
        """The memory that ``address`` names, and the number of the word there."""
        return self._on_chip if address & isa.ON_CHIP else self._off_chip, address & OFFSET

    def _forget(self, step: int) -> None:
        """Drop writes that ``step`` and all later ones wait for, whatever they depend on."""
        while self._unfinished and self._unfinished[0].step <= step - isa.STEPS_IN_FLIGHT:
            self._unfinished.popleft()

    def _as_of(self, space: Space, complete: int) -> Words:
        """A copy of ``space`` as it was when step ``complete`` had written and no later one."""
        words = space.words.copy()
        for write in reversed(self._unfinished):
            if write.step > complete and write.space is space:
                words[write.addresses & OFFSET] = write.old
        return words
