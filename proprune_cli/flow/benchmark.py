"""An artifact's figures: predicted for an emulated board, measured on this host."""

from __future__ import annotations

from pathlib import Path

from proprune_cli.artifact import check_contract, load_artifact
from proprune_cli.errors import BoardError, UsageError
from proprune_cli.flow.execute import CPU
from proprune_cli.measure.records import BenchRecord

EMULATED = "emulated:"


def bench(path: Path, board: str) -> BenchRecord:
    """Figures of the artifact at ``path`` on ``board``.

    Raises:
        InputError: the artifact is missing or damaged.
        BoardError: the artifact speaks another contract, or the real board cannot be reached.
        UsageError: no such board, or one that has no clock of its own.
    """
    artifact = load_artifact(path)
    if board == CPU:
        from proprune_cli.measure.cpu import measure_cpu

        return measure_cpu(artifact, str(path))
    array = check_contract(artifact, str(path))
    if board.startswith(EMULATED):
        from proprune_cli.accel.boards import load_board
        from proprune_cli.measure.predicted import predict

        target = load_board(board.removeprefix(EMULATED))
        if array.name not in target.arrays:
            raise BoardError(
                f"{target.name} cannot carry array {array.name}; it takes {', '.join(target.arrays)}",
                where=str(path),
                remedy=f"compile the network with --board {target.name}, or name another board",
            )
        return predict(artifact, str(path), target, array)
    from proprune_cli.board.registry import open_board

    # A real board refuses here with its bitstream's own reason.
    open_board(board, array)
    raise UsageError(
        f"{board} has no clock whose figures would mean anything",
        where=f"--board {board}",
        remedy="choose emulated:pynq-z2 for predicted figures, or cpu for measured ones",
    )
