"""The NumPy interpreter as a place to run programs: strict about what it runs, and needing no compiler."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import interpret
from proprune_cli.accel.array import Array
from proprune_cli.accel.deadline import UNLIMITED
from proprune_cli.accel.program import Program
from proprune_cli.board.base import RunResult, Source, accept, check_input
from proprune_cli.errors import BoardError


class InterpreterBoard:
    """Runs programs for one array. Implements :class:`~proprune_cli.board.base.BoardSession`."""

    def __init__(self, array: Array) -> None:
        self._engine = interpret.InterpreterEngine(array)
        self._array = array
        self._program: Program | None = None
        self._seconds = UNLIMITED

    @property
    def name(self) -> str:
        return "interpreter"

    @property
    def source(self) -> Source:
        return "simulated"

    def digest(self) -> int:
        return self._engine.digest()

    def load(self, program: Program) -> None:
        self._program = None
        self._seconds = accept(self.digest(), program, self._array, self.name)
        self._program = program

    def run(self, codes: NDArray[np.int8]) -> RunResult:
        if self._program is None:
            raise BoardError("no program is loaded", where=self.name, remedy="load an artifact first")
        check_input(codes, self._program)
        start = time.perf_counter()
        result = interpret.run(self._program, codes, self._seconds)
        return RunResult(result.outputs, result.counters, self.source, time.perf_counter() - start)
