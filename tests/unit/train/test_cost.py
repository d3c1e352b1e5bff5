"""What trainings cost: counted over all processes that had a part in them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from proprune_cli.errors import InputError
from proprune_cli.rundir import RunDir
from proprune_cli.train.cost import COST, WATTS, CostMeter, cost_of


def _burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_seconds_add_up_over_processes_and_waiting_costs_nothing(tmp_path: Path) -> None:
    with RunDir(tmp_path / "run", "prune", {}) as run:
        stage = run.stage("dense", {})
        assert cost_of(stage.read(COST), "here") is None
        for epochs in (2, 1):  # another meter, as in another process
            meter = CostMeter(stage, "cpu", "dense training")
            for _ in range(epochs):
                _burn(0.05)
                time.sleep(0.1)
                meter.end_epoch()
        cost = cost_of(stage.read(COST), "here")
    assert cost is not None and cost.epochs == 3
    assert 0.15 <= cost.cpu_seconds < 0.3 < 0.44 <= cost.wall_seconds
    assert cost.joules == pytest.approx(WATTS * cost.cpu_seconds)


def test_energy_of_another_device_is_not_made_up() -> None:
    content = b'{"epochs": 1, "cpu_seconds": 2.0, "wall_seconds": 3.0, "device": "cuda"}'
    cost = cost_of(content, "here")
    assert cost is not None and cost.joules is None


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"epochs": "many"}', b'{"cpu_seconds": NaN}'])
def test_a_damaged_record_is_told(content: bytes) -> None:
    with pytest.raises(InputError, match="damaged"):
        cost_of(content, "here")
