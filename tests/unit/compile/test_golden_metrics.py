"""No network of the zoo gets slower unseen: predicted cycles against ``benchmarks/golden_metrics.json``.

After a change that is meant to cost, or one that gains, put the new figures on record with
``pytest --update-golden tests/unit/compile/test_golden_metrics.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import predicted
from benchmarks.networks import LARGE, NETWORKS, Network

TOLERANCE = 1
"""Cycles may rise by this many in a thousand: a tap more or less, where a library draws other random weights."""

QUICK = ("lenet5-28", "resnet8-32", "mobilenetv1-32", "squeezenet-32", "resnet18-224")


def marks(network: Network) -> tuple[pytest.MarkDecorator, ...]:
    """Large networks are compared by ``make bench``: compiling all of them takes longer than every other test."""
    if network.name in QUICK:
        return ()
    return (pytest.mark.large,) if network in LARGE or network.name == "densenet121-32" else (pytest.mark.slow,)


def slower(recorded: dict[str, int], cycles: dict[str, int]) -> list[str]:
    """A line for each array that takes more cycles than are on record, or has none there."""
    missing = [f"{array}: nothing on record, {c} cycles now" for array, c in cycles.items() if array not in recorded]
    return missing + [
        f"{array}: {recorded[array]} cycles on record, {c} now ({c / recorded[array] - 1:+.1%})"
        for array, c in cycles.items()
        if array in recorded and c * 1000 > recorded[array] * (1000 + TOLERANCE)
    ]


@pytest.mark.parametrize(
    "network",
    [pytest.param(n, id=n.name, marks=marks(n)) for n in NETWORKS],
)
def test_a_network_has_not_become_slower(network: Network, request: pytest.FixtureRequest) -> None:
    cycles = {name: p.cycles for name, p in predicted.predict_all(predicted.quantised(network)).items()}
    if request.config.getoption("--update-golden"):
        predicted.record(network.name, cycles)
        return
    found = slower(predicted.read_golden().get(network.name, {}), cycles)
    if found:
        command = f"pytest --update-golden '{request.node.nodeid}'"
        pytest.fail(f"{network.name} takes longer; if that is meant, run: {command}\n" + "\n".join(found))


def test_every_network_on_record_is_one_of_the_zoo() -> None:
    assert set(predicted.read_golden()) <= {n.name for n in NETWORKS}


def test_more_cycles_and_missing_figures_are_told_apart_from_fewer() -> None:
    assert slower({"a": 1000, "b": 1000, "c": 1000}, {"a": 1001, "b": 1002, "c": 10, "d": 5}) == [
        "d: nothing on record, 5 cycles now",
        "b: 1000 cycles on record, 1002 now (+0.2%)",
    ]


def test_recording_keeps_the_other_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicted, "GOLDEN", tmp_path / "metrics.json")
    predicted.record("one", {"a": 1})
    predicted.record("two", {"a": 2, "b": 3})
    predicted.record("one", {"a": 4})
    assert predicted.read_golden() == {"one": {"a": 4}, "two": {"a": 2, "b": 3}}
