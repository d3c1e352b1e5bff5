"""The networks of a finished run directory, as files that the compiler reads."""

from __future__ import annotations

from pathlib import Path

from proprune_cli.errors import InputError, UsageError
from proprune_cli.prune.result import NETWORK_FILES

PRUNED = "pruned"
"""The network that is meant where none is named."""


def run_networks(run: Path) -> dict[str, Path]:
    """The ONNX file of each network that the run has, dense first.

    Raises:
        InputError: the directory is no finished run.
    """
    # The dense network first: it is what the others are compared with.
    names = sorted(NETWORK_FILES, key=("dense", "pruned", "thin").index)
    found = {name: run / NETWORK_FILES[name] for name in names if (run / NETWORK_FILES[name]).is_file()}
    if PRUNED not in found:
        raise InputError(
            f"the directory holds no {NETWORK_FILES[PRUNED]}, so it is no finished run",
            where=str(run),
            remedy=f"finish it with `proprune prune … --out {run}`, or give a file",
        )
    return found


def network_file(run: Path, name: str = PRUNED) -> Path:
    """The ONNX file of the network ``name`` ("pruned", "dense" or "thin") of a run.

    Raises:
        InputError: the directory is no finished run, or it has no such network.
        UsageError: no run has a network of that name.
    """
    require_network(name)
    found = run_networks(run)
    if name not in found:
        raise InputError(
            f"the run has no {name} network",
            where=str(run / NETWORK_FILES[name]),
            remedy=f"choose one that it has with --network: {', '.join(found)}"
            + ("; `proprune prune` trains a thin one unless --no-thin is given" if name == "thin" else ""),
        )
    return found[name]


def require_network(name: str) -> None:
    """See that ``name`` is one that networks of runs have.

    Raises:
        UsageError: it is none.
    """
    if name not in NETWORK_FILES:
        raise UsageError(
            f"{name!r} is no network of a run", where="--network", remedy=f"choose one of {', '.join(NETWORK_FILES)}"
        )


def refuse_network(source: Path) -> UsageError:
    """The error of ``--network`` beside a file, which holds one network."""
    return UsageError(
        "--network chooses among the networks of a run directory, and this is a file",
        where=str(source),
        remedy="give the run directory, or leave out --network",
    )
