"""What the trainings of a run cost, by stage and in all: processor seconds, and the energy that these are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proprune_cli.files.limits import JSON_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.train.cost import COST, WATTS, WATTS_SOURCE, cost_of


def trainings(run: Path) -> list[dict[str, Any]]:
    """What each training of a run cost; energy is estimated (`proprune_cli.train.cost`).

    Raises:
        InputError: a record of a stage is damaged.
    """
    found: list[dict[str, Any]] = []
    for file in sorted((run / "stages").glob(f"*/{COST}")):
        cost = cost_of(read_file(file, JSON_BYTES), str(file))
        if cost is not None:
            found.append({"stage": file.parent.name, **asdict(cost), "estimated_joules": cost.joules})
    return found


def in_all(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over ``rows`` of `trainings`, with the source of the energy; None where one training's is not known."""
    joules = [row["estimated_joules"] for row in rows]
    return {
        "trainings": len(rows),
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows),
        "estimated_joules": None if any(j is None for j in joules) else sum(joules),
        "watts_per_core": WATTS,
        "watts_source": WATTS_SOURCE,
    }


def cost_lines(cost: dict[str, Any]) -> list[str]:
    """`in_all` in lines of text."""
    energy, count = cost["estimated_joules"], cost["trainings"]
    said = "" if energy is None else f", {energy:.4g} J estimated at {cost['watts_per_core']:g} W per busy core"
    line = f"{count} training{'' if count == 1 else 's'} took {cost['cpu_seconds']:.1f} CPU seconds{said}"
    return [line] if energy is None else [line, f"  {cost['watts_source']}"]
