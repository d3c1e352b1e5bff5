"""The engine's driver: writes the program, rings once for each range of layers, waits, reads the answer.

It runs on the board, on pynq's ``MMIO`` and ``allocate``, and unchanged on the emulated board. It is told where the
registers are, so the encoding stays declared in one place. Nothing newer than Python 3.8 is used, and every dtype is
explicit, since numpy's default integer has 32 bits on armv7l.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, List, Mapping, Protocol, Tuple  # noqa: UP035 - Python 3.8

import numpy as np

START, DONE, IDLE = 1, 2, 4
"""Bits of the control register. DONE clears when read."""

WORD_BYTES = 8
POINTERS = ("features", "weights", "residual", "descriptors", "results")
"""Registers that hold the buffer's byte address, one for each memory port of the engine."""

POLL_SECONDS = 100e-6


HostCall = Callable[[int, List[Any]], Any]  # noqa: UP006 - Python 3.8
"""Computes a part that is not the engine's: its number and the words it reads in, the words it writes out."""


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
class HostTensors:
    """What one computation of the processor reads and writes: (address, words) of each input, and of the output."""

    inputs: Tuple[Tuple[int, int], ...]  # noqa: UP006 - Python 3.8
    output: Tuple[int, int]  # noqa: UP006 - Python 3.8


@dataclass(frozen=True)
class Range:
    """Layers that run without a stop, and what the processor computes after them.

    ``step_count``: the engine's steps of those layers together; may be 0, and then the engine is not rung.
    """

    layer_table: int
    step_count: int
    counters: int
    host: Tuple[HostTensors, ...] = ()  # noqa: UP006 - Python 3.8


@dataclass(frozen=True)
class Job:
    """A loaded program: where everything lies in its buffer, in words.

    ``ranges``: in execution order, their counters one after the other from ``counters`` on, ``counter_words`` for each
    of ``layer_count`` layers. ``outputs``: address and words of each; they may overlap. ``seconds``: after which a ring
    is taken to hang, from the program's own work; None: the driver's time-out.
    """

    size: int
    ranges: Tuple[Range, ...]  # noqa: UP006 - Python 3.8
    layer_count: int
    counters: int
    counter_words: int
    input_address: int
    input_words: int
    outputs: Tuple[Tuple[int, int], ...]  # noqa: UP006 - Python 3.8
    seconds: float | None = None


class Driver:
    """Drives one engine.

    Args:
        mmio: the engine's registers.
        registers: (byte offset, width in bits) of each register by name.
        allocate: makes a DmaBuffer of that many words.
        timeout: seconds after which the engine is taken to hang, where no job says otherwise.
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
        self._set("step_count", 0)
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

    def run(self, words: Any, host: HostCall | None = None) -> Tuple[List[Any], Any]:  # noqa: UP006 - Python 3.8
        """Run the loaded program once.

        Args:
            words: uint64 [input_words].
            host: computes what is not the engine's; needed where the program has such a part. Given the number of the
                part, counted from 0, and the words of each tensor it reads, it returns the words of the one it writes.

        Returns:
            The words of each output, uint64, and the counters, uint64 [layer_count * counter_words].

        Raises:
            DriverError: nothing is loaded, the input has another length, ``host`` is missing, the engine hangs or
                stops early.
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
        part = 0
        for stretch in job.ranges:
            self._layers(stretch)
            buffer.invalidate()
            for tensors in stretch.host:
                if host is None:
                    raise DriverError("part of the program is the processor's, and nothing was given to compute it")
                address, count = tensors.output
                given = [np.array(buffer[at : at + n], dtype=np.uint64) for at, n in tensors.inputs]
                buffer[address : address + count] = np.asarray(host(part, given), dtype=np.uint64)
                part += 1
            if stretch.host:
                buffer.flush()
        counter_end = job.counters + job.layer_count * job.counter_words
        outputs = [np.array(buffer[at : at + n], dtype=np.uint64) for at, n in job.outputs]
        return outputs, np.array(buffer[job.counters : counter_end], dtype=np.uint64)

    def _layers(self, stretch: Range) -> None:
        """Let the engine run a range of layers."""
        if not stretch.step_count:
            return
        self._set("layer_table", stretch.layer_table)
        self._set("step_count", stretch.step_count)
        self._set("counters", stretch.counters)
        self._ring()
        completed = self._get("completed")
        if completed != stretch.step_count:
            raise DriverError(f"the engine completed {completed} of {stretch.step_count} steps")

    def _ring(self) -> None:
        """Start the engine and wait until it is done."""
        control = self._registers["control"][0]
        if not self._mmio.read(control) & IDLE:
            raise DriverError("the engine is busy; configure it again")
        self._mmio.write(control, START)
        job = self._job
        limit = self._timeout if job is None or job.seconds is None else job.seconds
        deadline = time.monotonic() + limit
        while True:
            status = self._mmio.read(control)
            if status & DONE:
                return
            if time.monotonic() > deadline:
                message = "the engine is not done after {:g} s (control register {:#x})"
                raise DriverError(message.format(limit, status))
            time.sleep(POLL_SECONDS)

    def _set(self, name: str, value: int) -> None:
        """Write a register; 64 bits are two words, low first."""
        offset, width = self._registers[name]
        self._mmio.write(offset, value & 0xFFFFFFFF)
        if width > 32:
            self._mmio.write(offset + 4, value >> 32)

    def _get(self, name: str) -> int:
        return int(self._mmio.read(self._registers[name][0]))
