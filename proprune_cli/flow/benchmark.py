"""An artifact's figures: predicted for an emulated board, measured on this host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proprune_cli.artifact import check_contract, load_artifact
from proprune_cli.board.registry import open_board, place_of, require_array
from proprune_cli.errors import BoardError, UsageError
from proprune_cli.measure.records import BenchRecord


def bench_all(paths: Sequence[Path], boards: Sequence[str]) -> list[BenchRecord]:
    """Figures of each artifact on each of ``boards``; of several boards, on those that carry its array.

    Raises:
        ProPruneError: as `bench`; also where none of ``boards`` carries an artifact's array.
    """
    records: list[BenchRecord] = []
    for path in paths:
        found = [board for board in boards if len(boards) == 1 or _carries(path, board)]
        if not found:
            name = load_artifact(path).program.array
            raise BoardError(
                f"none of {', '.join(boards)} carries array {name}",
                where=str(path),
                remedy="name a board that does; `proprune boards` lists them",
            )
        records += [bench(path, board) for board in found]
    return records


def _carries(path: Path, board: str) -> bool:
    """Whether ``board`` takes the artifact's array; places without a board of their own take any."""
    target = place_of(board).board(board)
    return target is None or load_artifact(path).program.array in target.arrays


def bench(path: Path, board: str) -> BenchRecord:
    """Figures of the artifact at ``path`` on ``board``.

    Raises:
        InputError: the artifact is missing or damaged.
        BoardError: the artifact speaks another contract, or the real board cannot be reached.
        UsageError: no such board, or one that has no clock of its own.
    """
    artifact = load_artifact(path)
    place = place_of(board)
    if place.whole is not None:
        from proprune_cli.measure.cpu import measure_cpu

        return measure_cpu(artifact, str(path))
    array, target = check_contract(artifact, str(path)), place.board(board)
    if place.figures == "predicted" and target is not None:
        from proprune_cli.measure.predicted import predict

        require_array(target, array, str(path))
        return predict(artifact, str(path), target, array)
    # A real board refuses here with its bitstream's own reason.
    open_board(board, array)
    raise UsageError(
        f"{board} has no clock whose figures would mean anything",
        where=f"--board {board}",
        remedy="choose emulated:pynq-z2 for predicted figures, or cpu for measured ones",
    )
