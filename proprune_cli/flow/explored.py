"""What an exploration found: networks, the fronts among them, and what they cost to make. Read from its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from proprune_cli.errors import InputError
from proprune_cli.flow.explore_point import DENSE, Point, Target, record_of_point
from proprune_cli.flow.front import Mark, front, knee
from proprune_cli.flow.training_costs import in_all

RESULT_VERSION = 1
Cost = Literal["latency_ms", "energy_mj"]
COSTS: tuple[Cost, ...] = ("latency_ms", "energy_mj")
UNITS = {"latency_ms": "ms", "energy_mj": "mJ"}


@dataclass(frozen=True)
class Front:
    """Networks of one target, by accuracy and one cost.

    Attributes:
        line: dense and pruned networks that no other of them dominates, by rising cost. dominated: those that one does.
        thin: thin networks, all of them, by rising cost: a curve of their own. knee: of the line, None where it has
            none.
        beaten: networks of the line that a thin one dominates.
    """

    target: Target
    cost: Cost
    line: tuple[Mark, ...]
    dominated: tuple[Mark, ...]
    thin: tuple[Mark, ...]
    knee: Mark | None
    beaten: tuple[Mark, ...]

    def to_json(self) -> dict[str, Any]:
        """Names of networks."""
        names = {
            "front": [m.name for m in self.line],
            "dominated": [m.name for m in self.dominated],
            "thin": [m.name for m in self.thin],
            "beaten_by_thin": [m.name for m in self.beaten],
        }
        return {**asdict(self.target), "cost": self.cost, **names, "knee": self.knee and self.knee.name}


@dataclass(frozen=True)
class Explored:
    """The outcome. ``document``: plain JSON values, with every network and every front."""

    document: dict[str, Any]
    fronts: tuple[Front, ...]

    def front(self, target: Target, cost: Cost) -> Front:
        """The front of ``cost`` on ``target``."""
        return next(f for f in self.fronts if (f.target, f.cost) == (target, cost))

    def network(self, name: str) -> dict[str, Any]:
        """The network called ``name``."""
        found: dict[str, Any] = next(n for n in self.document["networks"] if n["name"] == name)
        return found

    def method_of(self, name: str) -> str:
        """The method that made a network; empty for the dense one."""
        method: str = self.network(name)["method"]
        return method


def collect(out: Path, points: Sequence[Point], targets: Sequence[Target]) -> Explored:
    """Read the records of an exploration.

    Raises:
        InputError: that of the dense network is gone or damaged.
    """
    dense = record_of_point(out, DENSE)
    if dense is None:
        raise InputError(
            "the record of the dense network is gone or damaged",
            where=str(out / "points" / f"{DENSE}.json"),
            remedy="repeat the command; it makes the record again",
        )
    records = [(point, record) for point in points if (record := record_of_point(out, point.name)) is not None]
    networks = [_network(DENSE, DENSE, None, dense)]
    for point, record in records:
        for kind in record["networks"]:
            networks.append(_network(point.name if kind == "pruned" else f"{point.name}/{kind}", kind, point, record))
    failed = [
        {"name": point.name, **_asked(point), "command": record["command"], **record["failed"]}
        for point, record in records
        if record["failed"] is not None
    ]
    fronts = tuple(_front(networks, target, cost) for target in targets for cost in COSTS)
    document = {
        "version": RESULT_VERSION,
        "kind": "explored",
        "directory": str(out),
        "metric": dense["metric"],
        "source": "predicted",
        "models": sorted({b["model"] for n in networks for b in n["boards"]}),
        "targets": [asdict(target) for target in targets],
        "networks": networks,
        "fronts": [f.to_json() for f in fronts],
        "failed": failed,
        "missing": [p.name for p in points if p.name not in {point.name for point, _ in records}],
        "cost": _cost(dense, [record for _, record in records]),
    }
    return Explored(document, fronts)


def _network(name: str, kind: str, point: Point | None, record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = record["networks"][kind]
    return {
        "name": name,
        "kind": kind,
        **_asked(point),
        **found,
        "missed": record["missed"] if kind == "pruned" else None,
        "notes": record["notes"],
        "command": record["command"],
        "trainings": [t for t in record["trainings"] if kind != "thin" or t["stage"] == "thin"],
    }


def _asked(point: Point | None) -> dict[str, Any]:
    if point is None:
        return {"method": "", "budget": "", "budget_board": None, "budget_array": None}
    return {
        "method": point.method,
        "budget": point.budget,
        "budget_board": point.board,
        "budget_array": point.array,
    }


def _front(networks: Sequence[dict[str, Any]], target: Target, cost: Cost) -> Front:
    def marks(*kinds: str) -> list[Mark]:
        return [
            Mark(network["name"], network["accuracy"], board[cost])
            for network in networks
            if network["kind"] in kinds
            for board in network["boards"]
            if (board["board"], board["array"]) == (target.board, target.array) and board[cost] is not None
        ]

    all_of_them, thin = marks(DENSE, "pruned"), marks("thin")
    line = front(all_of_them)
    by_cost = sorted((m for m in all_of_them if m not in line), key=lambda m: (m.cost, m.name))
    beaten = tuple(m for m in line if any(t.dominates(m) for t in thin))
    curve = tuple(sorted(thin, key=lambda m: (m.cost, m.name)))
    return Front(target, cost, tuple(line), tuple(by_cost), curve, knee(line), beaten)


def _cost(dense: dict[str, Any], records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all trainings took; the dense one, which every point has a copy of, counts once."""
    rows = [*dense["trainings"], *(t for r in records for t in r["trainings"] if t["stage"] != DENSE)]
    return in_all(rows) | {"shared_cpu_seconds": in_all(dense["trainings"])["cpu_seconds"]}
