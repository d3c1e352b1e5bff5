"""The engine's driver: writes the program, rings once for the whole network, waits, reads the answer.

It runs on the board, on pynq's ``MMIO`` and ``allocate``, and unchanged on the emulated board. It is told where the
registers are, so the encoding stays declared in one place. Nothing newer than Python 3.8 is used, and every dtype is
explicit, since numpy's default integer has 32 bits on armv7l.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Protocol, Tuple  # noqa: UP035 - Python 3.8

import numpy as np

START, DONE, IDLE = 1, 2, 4
"""Bits of the control register. DONE clears when read."""

WORD_BYTES = 8
POINTERS = ("features", "weights", "residual", "descriptors", "results")
"""Registers that hold the buffer's byte address, one for each memory port of the engine."""

POLL_SECONDS = 100e-6


class DriverError(Exception):
    """The engine did not do what it was told."""


class Mmio(Protocol):
    """32-bit register access; ``pynq.MMIO`` is one. Offsets in bytes."""

    def read(self, offset: int) -> int:
        """The register at ``offset``."""
        ...

    def write(self, offset: int, value: int) -> None:
        """Set the register at ``offset``."""
        ...


class DmaBuffer(Protocol):
    """Contiguous uint64 words that processor and engine share; ``pynq.allocate(shape, dtype="u8")`` returns one."""

    @property
    def physical_address(self) -> int:
        """Byte address that the engine sees."""
        ...

    def flush(self) -> None:
        """Write what the processor changed to memory."""
        ...

    def invalidate(self) -> None:
        """Forget what the processor has cached, so that it reads memory."""
        ...

    def freebuffer(self) -> None:
        """Give the memory back."""
        ...

    def __getitem__(self, key: slice) -> Any:
        """Words as the processor sees them."""
        ...

    def __setitem__(self, key: slice, value: Any) -> None:
        """Change words as the processor sees them."""
        ...


@dataclass(frozen=True)
class Job:
    """A loaded program: where everything lies in its buffer, in words.

    ``counter_words``: words of one layer's counters.
    """

    size: int
    layer_table: int
    layer_count: int
    counters: int
    counter_words: int
    input_address: int
    input_words: int
    output_address: int
    output_words: int


class Driver:
    """Drives one engine.

    Args:
        mmio: the engine's registers.
        registers: (byte offset, width in bits) of each register by name.
        allocate: makes a DmaBuffer of that many words.
        timeout: seconds after which a run is taken to hang.
    """

    def __init__(
        self,
        mmio: Mmio,
        registers: Mapping[str, Tuple[int, int]],  # noqa: UP006 - Python 3.8
        allocate: Callable[[int], DmaBuffer],
        timeout: float = 30.0,
    ) -> None:
        self._mmio = mmio
        self._registers = registers
        self._allocate = allocate
        self._timeout = timeout
        self._job: Job | None = None
        self._buffer: DmaBuffer | None = None

    def digest(self) -> int:
        """First 32 bits of the contract digest of the engine that is configured; no program is needed.

        Raises:
            DriverError: the engine does not answer.
        """
        self._set("layer_count", 0)
        self._ring()
        return self._get("digest")

    def load(self, job: Job, image: Any) -> None:
        """Allocate the program's buffer and write its image (uint64 words) to the start of it.

        The buffer of the program before is given back first. Raises whatever ``allocate`` raises when memory runs out.
        """
        self.unload()
        buffer = self._allocate(job.size)
        buffer[0 : len(image)] = np.asarray(image, dtype=np.uint64)
        buffer.flush()
        self._buffer, self._job = buffer, job

    def unload(self) -> None:
        """Give the buffer back."""
        if self._buffer is not None:
            self._buffer.freebuffer()
        self._buffer = self._job = None

    def run(self, words: Any) -> Tuple[Any, Any]:  # noqa: UP006 - Python 3.8
        """Run the loaded program once.

        Args:
            words: uint64 [input_words].

        Returns:
            uint64 [output_words] and the counters, uint64 [layer_count * counter_words].

        Raises:
            DriverError: nothing is loaded, the input has another length, the engine hangs or stops early.
        """
        job, buffer = self._job, self._buffer
        if job is None or buffer is None:
            raise DriverError("no program is loaded")
        if len(words) != job.input_words:
            raise DriverError(f"the input has {len(words)} words, the program takes {job.input_words}")
        buffer[job.input_address : job.input_address + job.input_words] = np.asarray(words, dtype=np.uint64)
        buffer.flush()
        for pointer in POINTERS:
            self._set(pointer, buffer.physical_address)
        self._set("layer_table", job.layer_table)
        self._set("layer_count", job.layer_count)
        self._set("counters", job.counters)
        self._ring()
        completed = self._get("completed")
        if completed != job.layer_count:
            raise DriverError(f"the engine completed {completed} of {job.layer_count} layers")
        buffer.invalidate()
        counter_end = job.counters + job.layer_count * job.counter_words
        output = np.array(buffer[job.output_address : job.output_address + job.output_words], dtype=np.uint64)
        return output, np.array(buffer[job.counters : counter_end], dtype=np.uint64)

    def _ring(self) -> None:
        """Start the engine and wait until it is done."""
        control = self._registers["control"][0]
        if not self._mmio.read(control) & IDLE:
            raise DriverError("the engine is busy; configure it again")
        self._mmio.write(control, START)
        deadline = time.monotonic() + self._timeout
        while True:
            status = self._mmio.read(control)
            if status & DONE:
                return
            if time.monotonic() > deadline:
                message = "the engine is not done after {:g} s (control register {:#x})"
                raise DriverError(message.format(self._timeout, status))
            time.sleep(POLL_SECONDS)

    def _set(self, name: str, value: int) -> None:
        """Write a register; 64 bits are two words, low first."""
        offset, width = self._registers[name]
        self._mmio.write(offset, value & 0xFFFFFFFF)
        if width > 32:
            self._mmio.write(offset + 4, value >> 32)

    def _get(self, name: str) -> int:
        return int(self._mmio.read(self._registers[name][0]))
