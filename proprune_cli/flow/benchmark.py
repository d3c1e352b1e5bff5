"""An artifact's figures: predicted for an emulated board, measured on this host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proprune_cli.artifact import Artifact, check_contract, load_artifact
from proprune_cli.board.registry import open_board, place_of, require_array
from proprune_cli.errors import BoardError, ProPruneError, UsageError
from proprune_cli.measure.records import BenchRecord


def bench_all(paths: Sequence[Path], boards: Sequence[str]) -> list[BenchRecord]:
    """Figures of each artifact on each of ``boards`` that has its array.

    Raises:
        As `bench`: where an artifact or a board would have no line at all, or there is no such board.
    """
    if len(boards) == 1:
        return [bench(path, boards[0]) for path in paths]
    for board in boards:
        place_of(board)
    found: list[tuple[str, BenchRecord]] = []
    refused: list[tuple[Path, str, ProPruneError]] = []
    for path in paths:
        artifact = load_artifact(path)
        for board in boards:
            try:
                found.append((board, _bench(artifact, path, board)))
            except (BoardError, UsageError) as error:
                refused.append((path, board, error))
    for path, board, error in refused:
        if all(name != board for name, _ in found) or all(r.artifact != str(path) for _, r in found):
            raise error
    return [record for _, record in found]


def bench(path: Path, board: str) -> BenchRecord:
    """Figures of the artifact at ``path`` on ``board``.

    Raises:
        InputError: the artifact is missing or damaged.
        BoardError: the artifact speaks another contract, or the real board cannot be reached.
        UsageError: no such board, or one that has no clock of its own.
    """
    return _bench(load_artifact(path), path, board)


def _bench(artifact: Artifact, path: Path, board: str) -> BenchRecord:
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
