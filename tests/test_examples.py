"""Every script in ``examples/`` runs as it stands, in an empty folder, and what it prints is true."""

from __future__ import annotations

import random
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scripts may set threads and seeds; the tests beside them see none of it."""
    monkeypatch.chdir(tmp_path)
    threads, state, python = torch.get_num_threads(), torch.get_rng_state(), random.getstate()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    random.setstate(python)


def said(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers that the groups of ``pattern`` match in ``text``, which has to hold it."""
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return [float(part) for part in found.groups()]


def test_own_module(capsys: pytest.CaptureFixture[str]) -> None:
    out = said("own_module", capsys)
    (dense,), (pruned,) = numbers(r"dense +([\d.]+) %", out), numbers(r"pruned +([\d.]+) %", out)
    assert min(dense, pruned) > 80  # four classes
    board, floats = numbers(r"board: ([\d.]+)%, float: ([\d.]+)%", out)
    assert floats == pruned and abs(board - floats) <= 5
    assert numbers(r"difference ([\d.]+)%", out)[0] < 10


def test_own_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    out = said("own_training_loop", capsys)
    (dense,), (share,) = numbers(r"dense: ([\d.]+)%", out), numbers(r"([\d.]+)% of the operations", out)
    pruned, after = numbers(r"pruned: ([\d.]+)%; the dense network is what it was: ([\d.]+)%", out)
    assert share <= 40 and dense == after > 80 and pruned > 80
    assert abs(numbers(r"int8: ([\d.]+)%", out)[0] - pruned) < 3


def test_onnx_file(capsys: pytest.CaptureFixture[str]) -> None:
    out = said("onnx_file", capsys)
    # Multiply-accumulates by hand: outputs times products for each.
    for layer, macs in (("stem", 16 * 12 * 12 * 27), ("depthwise", 16 * 144 * 9), ("point", 24 * 144 * 16)):
        assert re.search(rf"{layer} +{macs:,} MACs", out)
    assert numbers(r"of a score: ([\d.]+)", out)[0] < 0.03
    different, compared = numbers(r"(\d+) of (\d+) bytes differ", out)
    assert different == 0 < compared


def test_latency_budget(capsys: pytest.CaptureFixture[str]) -> None:
    out = said("latency_budget", capsys)
    dense, pruned, allowed = numbers(r"([\d.]+) ms dense, ([\d.]+) ms pruned, ([\d.]+) ms allowed", out)
    assert allowed == pytest.approx(0.6 * dense, abs=2e-4) and pruned <= 1.005 * allowed
    assert numbers(r"pynq-z2: ([\d.]+) ms, predicted", out) == [pruned]
    assert numbers(r"zcu104: ([\d.]+) ms, predicted", out)[0] < pruned


def test_each_example_is_named_where_it_is_looked_for_and_tested() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert names == set(re.findall(r"\]\((\w+\.py)\)", page))
    tested = {name.removeprefix("test_") for name in globals()}
    assert {name.removesuffix(".py") for name in names} <= tested
