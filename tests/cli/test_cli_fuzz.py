"""A few mutated files of each kind through the commands; `benchmarks/bench_fuzz_files.py` runs thousands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzzing.canary import Canary
from tests.fuzzing.cases import Place
from tests.fuzzing.seeds import make_seeds
from tests.fuzzing.worker import case

FEW = {"artifact": 30, "onnx": 30, "run": 5}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    make_seeds(folder, run=True)
    return folder


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        yield Canary(work)


@pytest.mark.parametrize("kind", sorted(FEW))
def test_no_mutated_file_is_a_fault_of_ours(
    kind: str, seeds: Path, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(seeds)  # and back, for a case works in a directory of its own
    place = Place(seeds, canary.file.parent, canary.planted)
    found = [case(kind, seed, place, canary) for seed in range(FEW[kind])]
    assert [(f["seed"], f["fault"]) for f in found if f["fault"]] == []
    codes = [code for f in found for code in f["codes"]]
    assert {0, 1} <= set(codes), "the mutations do something, and not always"


def test_the_canary_sings(canary: Canary) -> None:
    import os
    import pickle

    canary.file.parent.mkdir(parents=True, exist_ok=True)
    os.system("true")
    pickle.loads(b"cos\ngetcwd\n.")
    canary.file.touch()
    assert len(canary.sung()) == 3 and canary.sung() == []
