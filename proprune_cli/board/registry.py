"""Every place that runs artifacts, by the name that users give it. A new one: one file here, one entry in `PLACES`.

No simulated place is ever chosen by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board, board_names, load_board
from proprune_cli.board.base import BoardSession, Executor, RunResult, Source
from proprune_cli.errors import BoardError, UsageError

if TYPE_CHECKING:
    from proprune_cli.artifact import Artifact


@dataclass(frozen=True)
class Place:
    """A kind of place.

    Attributes:
        name: what users write; with ``on_boards`` the name of a board follows it.
        title: what runs there.
        figures: where the latency that ``bench`` gives for it comes from; None: it has no clock that means anything.
        open: a session of a board (None for a place without boards) that carries the array.
        whole: opens an artifact itself, for a place that loads no program.
    """

    name: str
    title: str
    figures: Source | None
    on_boards: bool = False
    open: Callable[[Board | None, Array], BoardSession] | None = None
    whole: Callable[[Artifact], Executor] | None = None

    @property
    def names(self) -> list[str]:
        """Every name that it goes by."""
        return [self.name + board for board in board_names()] if self.on_boards else [self.name]

    def board(self, name: str) -> Board | None:
        """The board that ``name``, one of `names`, says; None for a place without boards."""
        return load_board(name.removeprefix(self.name)) if self.on_boards else None


def _interpreter(_: Board | None, array: Array) -> BoardSession:
    from proprune_cli.board.interpreter import InterpreterBoard

    return InterpreterBoard(array)


def _emulated(board: Board | None, array: Array) -> BoardSession:
    from proprune_cli.board.emulated import EmulatedBoard

    assert board is not None, "it is a place with boards"
    return EmulatedBoard(board, array)


def _rtl(board: Board | None, array: Array) -> BoardSession:
    from proprune_cli.board.emulated import EmulatedBoard
    from proprune_cli.board.rtl import RtlEngine, SimulatedMemory

    assert board is not None, "it is a place with boards"
    return EmulatedBoard(board, array, RtlEngine(array, SimulatedMemory.of(board, array)), "rtl")


def _cpu(artifact: Artifact) -> Executor:
    from proprune_cli.board.cpu import CpuExecutor

    return CpuExecutor(artifact)


def _real(board: Board | None, array: Array) -> BoardSession:
    from proprune_cli.board.bitstreams import load_manifest

    assert board is not None, "it is a place with boards"
    manifest = load_manifest(board, array)
    emulation = f"name {EMULATED.name}{board.name} to run the same engine on this host"
    if manifest.status != "built":
        raise BoardError(
            f"no bitstream of array {array.name} is built for {board.name}: {manifest.reason}",
            where=str(manifest.path),
            remedy=f"build one with the scripts in hls/scripts, or {emulation}",
        )
    raise BoardError(
        f"a bitstream is built for {board.name}, but this version of proprune cannot reach a real board",
        where=str(manifest.path),
        remedy=emulation,
    )


CPU = Place("cpu", "ONNX Runtime on this host", "measured", whole=_cpu)
INTERPRETER = Place("interpreter", "the program, interpreted in NumPy", None, open=_interpreter)
EMULATED = Place("emulated:", "the engine's C++ on a modelled board", "predicted", on_boards=True, open=_emulated)
RTL = Place("rtl:", "the engine's RTL, simulated cycle by cycle", "simulated", on_boards=True, open=_rtl)
REAL = Place("", "the board itself", "measured", on_boards=True, open=_real)

PLACES: tuple[Place, ...] = (INTERPRETER, EMULATED, RTL, REAL, CPU)


def board_choices() -> list[str]:
    """Every name of a place that loads programs."""
    return [name for place in PLACES if place.open is not None for name in place.names]


def place_of(name: str) -> Place:
    """The place that users call ``name``.

    Raises:
        UsageError: there is none.
    """
    for place in PLACES:
        if name in place.names:
            return place
    raise UsageError(
        f"no board is called {name!r}", where="--board", remedy=f"choose one of {', '.join(board_choices())}"
    )


def require_array(board: Board, array: Array, where: str) -> None:
    """See that ``board`` can carry ``array``.

    Raises:
        BoardError: it cannot.
    """
    if array.name not in board.arrays:
        raise BoardError(
            f"{board.name} cannot carry array {array.name}; it takes {', '.join(board.arrays)}",
            where=where,
            remedy=f"compile the network with --board {board.name}, or name another board",
        )


def open_board(name: str, array: Array) -> BoardSession:
    """Open ``emulated:<board>``, ``rtl:<board>``, ``interpreter``, or a real board by its name, carrying ``array``.

    Raises:
        UsageError: there is no such board, or no program is loaded there.
        BoardError: the board cannot carry the array, or (a real one) no bitstream is built for it.
    """
    place = place_of(name)
    if place.open is None:
        raise UsageError(
            f"no program is loaded into {name}", where=f"--board {name}", remedy="name a board, or emulated:pynq-z2"
        )
    board = place.board(name)
    if board is not None:
        require_array(board, array, name)
    return place.open(board, array)


def open_executor(artifact: Artifact, name: str, where: str) -> Executor:
    """The place that users call ``name``, with the artifact loaded.

    Args:
        where: the artifact's file name, for messages.

    Raises:
        BoardError: the board cannot be reached, or has another engine.
        UsageError: no such board.
    """
    from proprune_cli.artifact import check_contract

    place = place_of(name)
    if place.whole is not None:
        return place.whole(artifact)
    session = open_board(name, check_contract(artifact, where))
    session.load(artifact.program)
    return _Loaded(session)


@dataclass(frozen=True)
class _Loaded:
    """A session with its program."""

    session: BoardSession

    @property
    def name(self) -> str:
        return self.session.name

    def run(self, codes: NDArray[np.int8]) -> RunResult:
        return self.session.run(codes)
