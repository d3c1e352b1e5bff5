"""Data sets: the same plan gives the same bytes, however often it was killed and wherever its rows were made."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from proprune_cli.accel.boards import load_board
from proprune_cli.errors import InputError, UsageError
from proprune_cli.flow.dataset import BASES, DatasetOptions, make_dataset
from proprune_cli.predict.sampling import METHODS, plan, targets
from proprune_cli.predict.schema import LABELS, LAYER, NETWORK
from proprune_cli.predict.store import FILE, read_rows
from tests.dask_cluster import dask_cluster

pytest.importorskip("pyarrow")

OPTIONS = DatasetOptions(rows=120, seed=3, models=("lenet5",))
COMMAND = ["dataset", "--rows", "120", "--seed", "3", "--model", "lenet5", "--processes", "1"]


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / FILE).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    make_dataset(OPTIONS, folder, processes=1)
    return folder


def test_every_row_is_there_once_and_its_figures_hold_together(made: Path) -> None:
    table = read_rows(made)
    rows = table.to_pylist()
    assert [row["row"] for row in rows] == list(range(120))
    assert {row["method"] for row in rows} == set(METHODS)
    assert {row["array"] for row in rows} == {"z7020-256", "z7020-384", "zu-1024"}
    for row in rows:
        layers = row["layers"]
        for name in ("cycles", "ddr_bytes", "issued_macs", "useful_macs", "macs"):
            assert row[name] == sum(layer[name] for layer in layers), name
        assert 0 < row["useful_macs"] <= row["issued_macs"] and row["useful_macs"] <= row["nonzero_macs"] <= row["macs"]
        parts = [row[name] for name in ("static_mj", "mac_mj", "slot_mj", "ddr_mj")]
        assert row["energy_mj"] == pytest.approx(sum(parts)) and min(parts) >= 0
        assert row["latency_ms"] == pytest.approx(row["cycles"] / row["clock_mhz"] * 1e-3 / row["batch"])
        assert row["static_mj"] == pytest.approx(load_board(row["board"]).energy.static_w.value * row["latency_ms"])
        assert row["source"] == "predicted" and "loop model" in row["model"]
        assert all(layer["binary_taps"] <= layer["fresh_taps"] <= layer["taps"] for layer in layers)
    assert set(LABELS) < set(LAYER) and table.column_names == [*NETWORK, "layers"]


def test_a_second_time_gives_the_same_file(made: Path, tmp_path: Path) -> None:
    make_dataset(OPTIONS, tmp_path, processes=2)
    assert digest(tmp_path) == digest(made)


def test_killed_and_run_again_gives_the_same_file(made: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "proprune_cli", *COMMAND, "--out", str(tmp_path)]
    for parts in (1, 2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        _wait_for(lambda n=parts: len(list((tmp_path / "parts").glob("0*.parquet"))) >= n)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / FILE).exists()
    for damaged in list((tmp_path / "parts").glob("0*.parquet"))[:1]:
        damaged.write_bytes(damaged.read_bytes()[:-100])
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    assert digest(tmp_path) == digest(made)


def _wait_for(true: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_network_and_array_has_its_share_of_rows() -> None:
    rows = plan(BASES, targets(), 10_000, 0)
    assert [row.row for row in rows] == list(range(10_000))
    weight = sum(base.weight for base in BASES)
    for base in BASES:
        of_base = [row for row in rows if row.base == base]
        assert len(of_base) == pytest.approx(10_000 * base.weight / weight, abs=3)
        counts = np.bincount([METHODS.index(row.method) for row in of_base])
        assert counts.max() - counts.min() <= 3
        per_array = [sum(row.target.array == a for row in of_base) for a in {t.array for t in targets()}]
        assert max(per_array) - min(per_array) <= 2


def test_what_cannot_be_asked_for_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no variants of 'alexnet'"):
        make_dataset(DatasetOptions(models=("alexnet",)), tmp_path)
    with pytest.raises(UsageError, match="1 rows are fewer than networks"):
        make_dataset(DatasetOptions(rows=1), tmp_path)
    with pytest.raises(UsageError, match="no board carries"):
        make_dataset(DatasetOptions(array="z9"), tmp_path)
    with pytest.raises(InputError, match="another data set: seed differ"):
        make_dataset(DatasetOptions(rows=120, seed=4, models=("lenet5",)), made)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_none_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no data set"):
        read_rows(tmp_path)
    whole = (made / FILE).read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.parquet").write_bytes(whole[:cut])
        with pytest.raises(InputError, match="cut short"):
            read_rows(tmp_path / "cut.parquet")
    (tmp_path / "dataset.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(InputError, match="another data set"):
        make_dataset(OPTIONS, tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        make_dataset(OPTIONS, tmp_path)


# On a cluster.

SMALL = DatasetOptions(rows=96, seed=1, models=("lenet5",), array="z7020-256")


def test_a_local_cluster_makes_the_same_file(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    make_dataset(SMALL, tmp_path / "here", processes=1)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        make_dataset(SMALL, tmp_path / "there", dask=cluster.scheduler_address)
    assert digest(tmp_path / "here") == digest(tmp_path / "there")


def test_a_worker_that_is_killed_loses_no_row(tmp_path: Path) -> None:
    """A scheduler and two workers as processes of their own; one is killed once the first parts are there."""
    pytest.importorskip("distributed")
    options = DatasetOptions(rows=240, seed=2, models=("lenet5",))
    make_dataset(options, tmp_path / "here", processes=1)
    killed: list[int] = []
    with dask_cluster(tmp_path) as cluster:

        def kill(done: int, _: int) -> None:
            if done and not killed:
                killed.append(done)
                cluster.kill()

        make_dataset(options, tmp_path / "there", dask=cluster.address, on_rows=kill)
    assert killed and digest(tmp_path / "here") == digest(tmp_path / "there")


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        make_dataset(SMALL, tmp_path, dask="tcp://127.0.0.1:9")
