"""The memory of an emulated board: contiguous allocations that run out, and processor caches that must be flushed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.accel.bitfield import Words
from proprune_cli.errors import BoardError, DoesNotFitError

PAGE_BYTES = 4096
CMA_BASE = 0x1000_0000
"""Byte address of the first page; any would do, as long as it is not 0."""

LINE_WORDS = 4
"""Words of a cache line (32 bytes, as in the Cortex-A9)."""


class EmulatedBuffer:
    """A contiguous buffer as processor and engine see it. Implements the driver's ``DmaBuffer``.

    The processor works on ``host``, the engine on ``ddr``; they meet only through ``flush`` and ``invalidate``, so a
    forgotten one shows. As in a write-back cache, ``flush`` writes whole lines that the processor changed, and
    ``invalidate`` discards changes that were not flushed.
    """

    def __init__(self, memory: ContiguousMemory, physical_address: int, words: int) -> None:
        padded = -(-words // LINE_WORDS) * LINE_WORDS
        self._memory = memory
        self.physical_address = physical_address
        self.ddr: Words = np.zeros(padded, dtype=np.uint64)
        self._host = np.zeros(padded, dtype=np.uint64)
        self._clean = np.zeros(padded, dtype=np.uint64)
        self._words = words

    @property
    def engine_view(self) -> Words:
        """uint64 [words] in DDR."""
        return self.ddr[: self._words]

    def flush(self) -> None:
        changed = np.repeat((self._host != self._clean).reshape(-1, LINE_WORDS).any(axis=1), LINE_WORDS)
        self.ddr[changed] = self._host[changed]
        self._clean[changed] = self._host[changed]

    def invalidate(self) -> None:
        self._host[:] = self.ddr
        self._clean[:] = self.ddr

    def freebuffer(self) -> None:
        self._memory.free(self)

    def __getitem__(self, key: slice) -> Any:
        return self._host[: self._words][key]

    def __setitem__(self, key: slice, value: Any) -> None:
        self._host[: self._words][key] = value


@dataclass
class ContiguousMemory:
    """The contiguous memory of a board (CMA): whole pages, first fit, and an end.

    Attributes:
        size: bytes. owner: the board's name, for messages.
    """

    size: int
    owner: str
    _buffers: list[tuple[int, int, EmulatedBuffer]] = field(
        default_factory=list[tuple[int, int, EmulatedBuffer]]
    )  # (start, end, buffer) in bytes from CMA_BASE, ascending

    def allocate(self, words: int) -> EmulatedBuffer:
        """A zeroed buffer of ``words``.

        Raises:
            DoesNotFitError: no gap is large enough.
        """
        demand = -(-words * isa.WORD_BYTES // PAGE_BYTES) * PAGE_BYTES
        end, largest = 0, 0
        for index, (start, stop) in enumerate([*((s, e) for s, e, _ in self._buffers), (self.size, self.size)]):
            gap = start - end
            if gap >= demand:
                buffer = EmulatedBuffer(self, CMA_BASE + end, words)
                self._buffers.insert(index, (end, end + demand, buffer))
                return buffer
            largest, end = max(largest, gap), stop
        raise DoesNotFitError(
            f"the program needs {demand / 2**20:.1f} MiB of contiguous memory; the largest free block of "
            f"{self.size / 2**20:.0f} MiB is {largest / 2**20:.1f} MiB",
            where=self.owner,
            remedy="prune the network or reduce its input, free other buffers, or raise the kernel option cma=",
        )

    def free(self, buffer: EmulatedBuffer) -> None:
        """Give ``buffer`` back."""
        self._buffers = [b for b in self._buffers if b[2] is not buffer]

    @property
    def used(self) -> int:
        """Bytes allocated, whole pages."""
        return sum(end - start for start, end, _ in self._buffers)

    def at(self, address: int) -> EmulatedBuffer:
        """The buffer that starts at a byte address.

        Raises:
            BoardError: none does; a real board would answer with a bus error, or worse.
        """
        for start, _, buffer in self._buffers:
            if CMA_BASE + start == address:
                return buffer
        raise BoardError(
            f"bus error: the engine was pointed at {address:#x}, where no buffer starts",
            where=self.owner,
            remedy="the driver is at fault (board/agent/driver.py): it must not ask this of a board",
        )
