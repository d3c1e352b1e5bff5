"""What every place that runs programs offers: a session that loads a program and runs inputs through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.check import check_program
from proprune_cli.accel.deadline import run_seconds
from proprune_cli.accel.program import Program
from proprune_cli.errors import BoardError, InputError

Source = Literal["measured", "simulated", "predicted"]
"""Where a figure comes from: a clock or a meter on the thing itself; something that stands in for it; a model alone."""


@dataclass(frozen=True)
class RunResult:
    """One run.

    Attributes:
        outputs: int8 [channels, height, width] of each output, in the program's order.
        counters: columnar, one row per layer; clock ticks are 0 where no clock is attached. None where no engine ran.
        source: of the times: ``measured`` on a board or on this host itself, ``simulated`` where an engine is emulated,
            whose times are no figures of a board.
        host_seconds: wall-clock time on the machine that ran it.
    """

    outputs: tuple[NDArray[np.int8], ...]
    counters: isa.LayerCounters | None
    source: Source
    host_seconds: float


class Executor(Protocol):
    """Something that turns the input codes of one artifact into output codes."""

    @property
    def name(self) -> str:
        """As the user named it."""
        ...

    def run(self, codes: NDArray[np.int8]) -> RunResult:
        """Codes of the images of one start, int8 [C, batch * H, W], to those of each of the program's outputs.

        Raises:
            InputError: the input has another shape or type.
            BoardError: the engine fails.
        """
        ...


class BoardSession(Protocol):
    """An open board."""

    @property
    def name(self) -> str:
        """As the user named it, for example ``emulated:pynq-z2``."""
        ...

    @property
    def source(self) -> Source:
        """Of its times."""
        ...

    def digest(self) -> int:
        """First 32 bits of the contract digest of the engine.

        Raises:
            BoardError: the engine does not answer.
        """
        ...

    def load(self, program: Program) -> None:
        """Load a program, in place of the one before.

        Raises:
            BoardError: the engine follows another contract than the program.
            InputError: the program is not one that may run, see `accel.check`.
            DoesNotFitError: the board's memory cannot hold it.
        """
        ...

    def run(self, codes: NDArray[np.int8]) -> RunResult:
        """Run int8 [channels, height, width] through the loaded program.

        Raises:
            InputError: the input has another shape or type.
            BoardError: nothing is loaded, or the engine fails or does not come to an end.
        """
        ...


def accept(engine: int, program: Program, array: Array, where: str) -> float:
    """What every place asks of a program before it takes it: seconds in which a host must have run it.

    Args:
        engine: first 32 bits of the contract digest that the engine reports.

    Raises:
        BoardError: the engine would misread it. InputError: it may not run, see `accel.check`.
    """
    check_digest(engine, program, where)
    layers = check_program(program, array)
    return run_seconds(sum(layer.steps for layer in layers), sum(layer.iterations for layer in layers))


def check_digest(engine: int, program: Program, where: str) -> None:
    """Refuse a program that the engine would misread.

    Raises:
        BoardError: the digests differ; the message shows both.
    """
    wanted = int(program.digest[:8], 16)
    if engine != wanted:
        raise BoardError(
            f"the engine has contract digest {engine:08x}, the program was compiled for {wanted:08x}",
            where=where,
            remedy="compile the network again with this version of proprune, for the array that the board carries",
        )


def check_input(codes: NDArray[np.int8], program: Program) -> None:
    """Refuse an input that is not one image's codes for ``program``.

    Raises:
        InputError: it has another shape or type.
    """
    shape = (program.input.channels, program.input.height, program.input.width)
    if codes.dtype != np.int8 or codes.shape != shape:
        raise InputError(
            f"the input is {codes.dtype} {list(codes.shape)}, the program takes int8 {list(shape)}",
            where="input",
            remedy="give one image's codes, channels first",
        )
