"""The tables of the papers can be made: one of them at the smallest scale, and again from its files."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from benchmarks.reproduce import knapsack
from benchmarks.reproduce.common import Bench, spread
from benchmarks.reproduce.lenet import compression_at


@pytest.mark.slow
@pytest.mark.large
def test_a_table_is_made_and_made_again_without_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both take seconds, and no table reads what they give.
    for place in ("pipeline", "publish"):
        monkeypatch.setattr(f"proprune_cli.prune.{place}.to_onnx", lambda *_: b"")
    monkeypatch.setattr("proprune_cli.flow.prune.check_network", lambda _: None)
    bench = Bench(tmp_path, "smoke", None, 1, "cpu")
    knapsack.main(bench)
    assert "dense training" in capsys.readouterr().out
    first = (tmp_path / "table.md").read_text()
    assert first.count("| jet-tagging MLP") == 2 and "synthetic" in first
    for row in [line.split(" | ") for line in first.splitlines() if "R = " in line]:
        saved, twin = float(row[2] if row[1].startswith("dsp") else row[3]), row[6:]
        assert float(twin[1]) >= saved - 0.1 and float(twin[2].rstrip(" |")) > 0
    knapsack.main(bench)
    assert "training:" not in capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == first


@pytest.mark.parametrize(("target", "bits"), [("dsp", 16), ("bram", 18)])
@pytest.mark.parametrize("share", [0.9, 0.27, 0.03])
def test_a_thin_twin_is_the_widest_that_costs_no_more_than_the_pruned_network(
    target: str, bits: int, share: float
) -> None:
    """Counted by hand: a multiplier for every 4 weights of a layer, begun ones too; RAM words of 36 bits take two."""

    def multipliers(widths: tuple[int, ...]) -> int:
        weights = [a * b for a, b in itertools.pairwise((16, *widths, 5))]
        return sum(math.ceil(w / 4) for w in weights)

    words = bits / 36 if target == "bram" else 1.0
    limit = share * multipliers((64, 32, 32)) * words
    spec = knapsack.thin_twin("benchmarks.reproduce.networks:jet_mlp", (16, 1, 1), 5, target, 4, bits, limit)
    widths = tuple(int(w) for w in spec.partition("widths=")[2].split(","))
    assert multipliers(widths) * words <= limit
    assert multipliers(tuple(w + 1 for w in widths)) * words > limit
    assert widths[0] / 64 == pytest.approx(widths[1] / 32, abs=1 / 32)


def test_no_thin_network_costs_nothing() -> None:
    assert knapsack.thin_twin("lenet5", (1, 28, 28), 10, "dsp", 32, 16, 1.0) == ""


def test_compression_at_an_error_lies_between_the_networks_of_a_run() -> None:
    found = [(1.0, 91.0), (4.0, 92.0), (16.0, 90.0), (32.0, 89.0)]
    assert compression_at(found, 92.0) == pytest.approx(4.0)
    assert compression_at(found, 91.0) == pytest.approx(8.0)
    assert compression_at(found, 88.0) == pytest.approx(32.0)
    assert compression_at([(1.0, 80.0), (4.0, 79.0)], 91.0) == pytest.approx(1.0)


def test_a_spread_names_its_deviation_only_where_there_is_one() -> None:
    assert spread([1.0]) == "1.00"
    assert spread([1.0, 3.0], 1) == "2.0 ± 1.4"
