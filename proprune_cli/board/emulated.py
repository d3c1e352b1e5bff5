"""The emulated board: the real driver and the engine's own C++ source on a modelled board. Its times are the host's."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.boards import Board
from proprune_cli.accel.deadline import UNLIMITED
from proprune_cli.accel.program import Program
from proprune_cli.board.agent import driver
from proprune_cli.board.base import RunResult, Source, accept, check_input
from proprune_cli.board.job import REGISTERS, host_call, job_of
from proprune_cli.board.memory import ContiguousMemory
from proprune_cli.errors import BoardError

_REGISTERS = {r.name: r for r in isa.REGISTERS}
_WORD_MASK = 0xFFFFFFFF


class Engine(Protocol):
    """What computes: the compiled C++ (``NativeEngine``), the simulated RTL (``RtlEngine``) or the interpreter."""

    def digest(self) -> int:
        """First 32 bits of the contract digest."""
        ...

    def run(self, buffer: Words, layer_table: int, step_count: int, counters: int, seconds: float) -> int:
        """Run a program in place, for ``seconds`` at most; returns the steps completed."""
        ...


class EmulatedRegisters:
    """The s_axilite register file; its start bit runs the engine. Implements the driver's ``Mmio``.

    Attributes:
        seconds: that a run may take. The driver cannot stop waiting, since the write that starts a run ends with it.
    """

    def __init__(self, engine: Engine, memory: ContiguousMemory) -> None:
        self._engine, self._memory = engine, memory
        self.seconds = UNLIMITED
        self._words: dict[int, int] = {}
        self._writable: set[int] = set()
        for r in isa.REGISTERS:
            offsets = [r.offset] if r.width <= 32 else [r.offset, r.offset + 4]
            self._words.update(dict.fromkeys(offsets, 0))
            if "w" in r.access:
                self._writable.update(offsets)
        self._control = _REGISTERS["control"].offset
        self._words[self._control] = driver.IDLE

    def read(self, offset: int) -> int:
        """The 32-bit word at ``offset``.

        Raises:
            BoardError: there is no register.
        """
        if offset not in self._words:
            raise self._bus_error(offset)
        value = self._words[offset]
        if offset == self._control:
            self._words[offset] = value & ~driver.DONE
        return value

    def write(self, offset: int, value: int) -> None:
        """Set the 32-bit word at ``offset``; the start bit of the control register runs the engine to its end.

        Raises:
            BoardError: there is no register that can be written, or the engine is pointed at unmapped memory.
            InputError: the program is inconsistent.
        """
        if offset not in self._writable or not 0 <= value <= _WORD_MASK:
            raise self._bus_error(offset)
        if offset != self._control:
            self._words[offset] = value
        elif value & driver.START:
            self._run()
            self._words[offset] = driver.IDLE | driver.DONE

    def _run(self) -> None:
        count = self._value("step_count")
        self._words[_REGISTERS["digest"].offset] = self._engine.digest()
        self._words[_REGISTERS["completed"].offset] = 0
        if count == 0:
            return
        addresses = {self._value(name) for name in driver.POINTERS}
        if len(addresses) != 1:
            raise BoardError(
                f"the engine's ports were given different buffers: {', '.join(hex(a) for a in sorted(addresses))}",
                where=self._memory.owner,
                remedy="the driver is at fault (board/agent/driver.py): it must not ask this of a board",
            )
        buffer = self._memory.at(addresses.pop())
        layers, counters = self._value("layer_table"), self._value("counters")
        completed = self._engine.run(buffer.engine_view, layers, count, counters, self.seconds)
        self._words[_REGISTERS["completed"].offset] = completed

    def _value(self, name: str) -> int:
        r = _REGISTERS[name]
        low = self._words[r.offset]
        return low if r.width <= 32 else low | self._words[r.offset + 4] << 32

    def _bus_error(self, offset: int) -> BoardError:
        return BoardError(
            f"bus error: access to register offset {offset:#x}",
            where=self._memory.owner,
            remedy="the driver is at fault (board/agent/driver.py): it must not ask this of a board",
        )


class EmulatedBoard:
    """A modelled PYNQ board with one array configured. Implements :class:`~proprune_cli.board.base.BoardSession`.

    Args:
        engine: what computes; the array's compiled C++ source by default. name: the place's.

    Raises:
        BoardError: the C++ source cannot be compiled.
    """

    def __init__(self, board: Board, array: Array, engine: Engine | None = None, name: str = "emulated") -> None:
        if engine is None:
            from proprune_cli.board.native import NativeEngine

            engine = NativeEngine(array)
        self._name = f"{name}:{board.name}"
        self.memory = ContiguousMemory(board.cma_bytes, self._name)
        self._array = array
        self._registers = EmulatedRegisters(engine, self.memory)
        self._driver = driver.Driver(self._registers, REGISTERS, self.memory.allocate)
        self._program: Program | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def source(self) -> Source:
        return "simulated"

    def digest(self) -> int:
        return self._driver.digest()

    def load(self, program: Program) -> None:
        self._driver.unload()
        self._program = None
        seconds = accept(self.digest(), program, self._array, self._name)
        self._registers.seconds = seconds
        self._driver.load(job_of(program, seconds), program.image)
        self._program = program

    def run(self, codes: NDArray[np.int8]) -> RunResult:
        program = self._program
        if program is None:
            raise BoardError("no program is loaded", where=self._name, remedy="load an artifact first")
        check_input(codes, program)
        start = time.perf_counter()
        try:
            answers, counters = self._driver.run(program.input.pack(codes), host_call(program))
        except driver.DriverError as error:
            raise BoardError(str(error), where=self._name, remedy="load the program again") from error
        seconds = time.perf_counter() - start
        outputs = tuple(o.plane.unpack(words) for o, words in zip(program.outputs, answers, strict=True))
        return RunResult(outputs, isa.LayerCounters.decode(counters), self.source, seconds)
