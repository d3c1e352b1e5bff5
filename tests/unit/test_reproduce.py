"""The tables of the papers can be made: one of them at the smallest scale, and again from its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reproduce import knapsack
from benchmarks.reproduce.common import Bench, spread
from benchmarks.reproduce.lenet import compression_at


@pytest.mark.slow
def test_a_table_is_made_and_made_again_without_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, "smoke", None, 1, "cpu")
    knapsack.main(bench)
    assert "dense training" in capsys.readouterr().out
    first = (tmp_path / "table.md").read_text()
    assert first.count("| jet-tagging MLP") == 2 and "synthetic" in first
    knapsack.main(bench)
    assert "training:" not in capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == first


def test_compression_at_an_error_lies_between_the_networks_of_a_run() -> None:
    found = [(1.0, 91.0), (4.0, 92.0), (16.0, 90.0), (32.0, 89.0)]
    assert compression_at(found, 92.0) == pytest.approx(4.0)
    assert compression_at(found, 91.0) == pytest.approx(8.0)
    assert compression_at(found, 88.0) == pytest.approx(32.0)
    assert compression_at([(1.0, 80.0), (4.0, 79.0)], 91.0) == pytest.approx(1.0)


def test_a_spread_names_its_deviation_only_where_there_is_one() -> None:
    assert spread([1.0]) == "1.00"
    assert spread([1.0, 3.0], 1) == "2.0 ± 1.4"
