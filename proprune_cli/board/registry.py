"""Opens the board that a user names. No simulated board is ever chosen by itself."""

from __future__ import annotations

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board, board_names, load_board
from proprune_cli.board.base import BoardSession
from proprune_cli.errors import BoardError, UsageError

EMULATED = "emulated:"
INTERPRETER = "interpreter"


def board_choices() -> list[str]:
    """Every name that :func:`open_board` understands."""
    boards = board_names()
    return [INTERPRETER, *(EMULATED + b for b in boards), *boards]


def open_board(name: str, array: Array) -> BoardSession:
    """Open ``emulated:<board>``, ``interpreter``, or a real board by its name, with ``array`` configured.

    Raises:
        UsageError: there is no such board.
        BoardError: the board cannot carry the array, or (a real one) no bitstream is built for it.
    """
    if name == INTERPRETER:
        from proprune_cli.board.interpreter import InterpreterBoard

        return InterpreterBoard(array)
    emulated = name.startswith(EMULATED)
    board_name = name.removeprefix(EMULATED)
    if board_name not in board_names():
        raise UsageError(
            f"no board is called {name!r}",
            where="--board",
            remedy=f"choose one of {', '.join(board_choices())}",
        )
    board = load_board(board_name)
    if array.name not in board.arrays:
        raise BoardError(
            f"{board.name} cannot carry array {array.name}; it takes {', '.join(board.arrays)}",
            where=name,
            remedy=f"compile the network with --board {board.name}, or name another board",
        )
    if emulated:
        from proprune_cli.board.emulated import EmulatedBoard

        return EmulatedBoard(board, array)
    return _open_real(board, array)


def _open_real(board: Board, array: Array) -> BoardSession:
    from proprune_cli.board.bitstreams import load_manifest

    manifest = load_manifest(board, array)
    emulation = f"name {EMULATED}{board.name} to run the same engine on this host"
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
