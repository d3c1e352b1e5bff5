"""What a training cost: processor seconds, counted, and the energy that they are estimated to take."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from proprune_cli.errors import InputError
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.records import record_of
from proprune_cli.train.workspace import Stage

COST = "cost.json"
"""File of a stage that trained."""

WATTS = 12.0
"""Of a busy core; W."""

WATTS_SOURCE = (
    "12 W for a core whose model is not known, the default of Green Algorithms (Lannelongue, Grealey & Inouye 2021, "
    "Advanced Science 8, 2100707; data/latest/TDP_cpu.csv, row Any); memory and cooling are not counted"
)


@dataclass(frozen=True)
class TrainingCost:
    """What one training cost so far, over all processes that had a part in it.

    Attributes:
        epochs: that ended. cpu_seconds: processor time of all threads of the process in these epochs, with their
            validation; an epoch in which the process was killed is not in it. wall_seconds: by the clock.
        device: where it trained.
    """

    epochs: float = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    device: str = "cpu"

    @property
    def joules(self) -> float | None:
        """Estimated energy, ``cpu_seconds`` times `WATTS`; None where another device did the work."""
        return WATTS * self.cpu_seconds if self.device == "cpu" else None


def cost_of(content: bytes | None, where: str) -> TrainingCost | None:
    """Read what `CostMeter` wrote; None where nothing was, as in stages of before it was counted.

    Raises:
        InputError: the file is damaged.
    """
    if content is None:
        return None
    try:
        return record_of(TrainingCost, parse_object(content), "cost")
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"the record of what a training cost is damaged: {error}",
            where=where,
            remedy="remove its stage's directory, and train again",
        ) from error


class CostMeter:
    """Counts what the epochs of a stage's training cost, and goes on where an earlier process was stopped."""

    def __init__(self, stage: Stage, device: str, label: str) -> None:
        self._stage = stage
        before = cost_of(stage.read(COST), f"cost of {label}")
        self._cost = before if before is not None else TrainingCost(device=device)
        self._began = self._clocks()

    def end_epoch(self, part: float = 1.0) -> None:
        """An epoch, or this part of one, has ended: keep its seconds."""
        now = self._clocks()
        cost = self._cost
        self._cost = TrainingCost(
            cost.epochs + part,
            cost.cpu_seconds + now[0] - self._began[0],
            cost.wall_seconds + now[1] - self._began[1],
            cost.device,
        )
        self._began = now
        self._stage.write(COST, (json.dumps(asdict(self._cost), indent=1) + "\n").encode())

    @staticmethod
    def _clocks() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()
