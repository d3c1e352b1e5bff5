"""Figures of artifacts, and of a run's networks: predicted for an emulated board, simulated, measured on this host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from proprune_cli.accel.array import Array
from proprune_cli.artifact import Artifact, check_contract, load_artifact
from proprune_cli.board.registry import open_board, place_of, require_array
from proprune_cli.compile.options import CompileOptions
from proprune_cli.errors import BoardError, ProPruneError, UsageError
from proprune_cli.flow.build import build
from proprune_cli.flow.build import target as target_of
from proprune_cli.flow.networks import PRUNED, network_file, refuse_network, run_networks
from proprune_cli.measure.records import BenchRecord


def bench_all(
    sources: Sequence[Path],
    boards: Sequence[str],
    networks: Sequence[str] = (),
    on_stage: Callable[[str], None] = lambda _: None,
) -> list[BenchRecord]:
    """Figures of each artifact, and of each network of a run directory, on each of ``boards``.

    Networks of runs are compiled for each board, and nothing is written. An artifact has an array already: of several
    boards, it is shown on those that carry it.

    Args:
        networks: of runs, "dense", "pruned" and "thin"; none named: all that a run has.

    Raises:
        ProPruneError: as `bench`; also where none of ``boards`` carries an artifact's array.
    """
    records: list[BenchRecord] = []
    for source in sources:
        if source.is_dir():
            for name in networks or run_networks(source):
                records += [bench(source, board, name, on_stage) for board in boards]
            continue
        if networks:
            raise refuse_network(source)
        found = [board for board in boards if len(boards) == 1 or _carries(source, board)]
        if not found:
            name = load_artifact(source).program.array
            raise BoardError(
                f"none of {', '.join(boards)} carries array {name}",
                where=str(source),
                remedy="name a board that does; `proprune boards` lists them",
            )
        records += [bench(source, board) for board in found]
    return records


def _carries(path: Path, board: str) -> bool:
    """Whether ``board`` takes the artifact's array; places without a board of their own take any."""
    target = place_of(board).board(board)
    return target is None or load_artifact(path).program.array in target.arrays


def bench(
    source: Path, board: str, network: str | None = None, on_stage: Callable[[str], None] = lambda _: None
) -> BenchRecord:
    """Figures of the artifact ``source``, or of a network of the run directory ``source``, on ``board``.

    Args:
        network: of a run, "pruned" (None is that, too), "dense" or "thin".

    Raises:
        InputError: the artifact is missing or damaged, or the run is not finished or has no such network.
        BoardError: the artifact speaks another contract, or the real board cannot be reached.
        UnsupportedError: the run's network does not compile for the board.
        UsageError: no such board, or one that has no clock of its own.
    """
    if not source.is_dir():
        if network is not None:
            raise refuse_network(source)
        return _figures(load_artifact(source), str(source), board)
    name = network or PRUNED
    network_file(source, name)
    return _figures(_compiled(source, name, board, on_stage), f"{source} {name}", board)


def _compiled(run: Path, network: str, board: str, on_stage: Callable[[str], None]) -> Artifact:
    """A network of a run, compiled for ``board`` and its own array.

    Raises:
        ProPruneError: as `build`; says which network it is.
    """
    place = place_of(board)
    target = place.board(board)
    options = CompileOptions(network=network) if target is None else CompileOptions(target.name, network=network)
    if place.whole is None and place.figures not in ("predicted", "simulated"):
        raise _refusal(board, target_of(options)[1])  # before anything is compiled
    on_stage(f"compiling the {network} network of {run} for {options.board}")
    try:
        return build(run, options)
    except ProPruneError as error:
        error.where = f"{run}, {network} network" + (f": {error.where}" if error.where else "")
        error.remedy += "; --network leaves out networks that do not compile" if error.remedy else ""
        raise


def _figures(artifact: Artifact, label: str, board: str) -> BenchRecord:
    place = place_of(board)
    if place.whole is not None:
        from proprune_cli.measure.cpu import measure_cpu

        return measure_cpu(artifact, label)
    array, target = check_contract(artifact, label), place.board(board)
    if place.figures == "predicted" and target is not None:
        from proprune_cli.measure.predicted import predict

        require_array(target, array, label)
        return predict(artifact, label, target, array)
    if place.figures == "simulated" and target is not None:
        from proprune_cli.measure.simulated import simulate

        require_array(target, array, label)
        return simulate(artifact, label, target, array)
    raise _refusal(board, array)


def _refusal(board: str, array: Array) -> UsageError:
    # A real board refuses here with its bitstream's own reason.
    open_board(board, array)
    return UsageError(
        f"{board} has no clock whose figures would mean anything",
        where=f"--board {board}",
        remedy="choose emulated:pynq-z2 for predicted figures, rtl:pynq-z2 for simulated or cpu for measured ones",
    )
