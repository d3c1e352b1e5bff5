"""``proprune explore`` as a user types it: points from one training, killed and gone on with, added to, shown."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proprune_cli.errors import InputError
from proprune_cli.flow import prune as flow_prune
from proprune_cli.flow.explore import Axes, takes_budget
from proprune_cli.flow.explore_point import OWN_KEYS, Point, command_line, own_keys
from proprune_cli.predict.accuracy import variants_of
from proprune_cli.prune.options import Budget, PruneOptions
from proprune_cli.train.options import TrainOptions
from tests.cli.conftest import Cli
from tests.dask_cluster import dask_cluster

ASKED = ["--model", "lenet5", "--data", "digits?size=16", "--epochs", "2", "--finetune-epochs", "1", "--threads", "1",
         "--processes", "1", "--test-images", "50", "--multiple", "1"]  # fmt: skip
IMPOSSIBLE = "params=0.01%"


@pytest.mark.slow
def test_a_killed_exploration_goes_on_and_every_point_is_an_ordinary_run(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "front"
    command = ["explore", *ASKED, "--budget", "ops=50%", "--budget", "ops=25%", "--budget", IMPOSSIBLE, "--out", out]
    process = subprocess.Popen(
        [sys.executable, "-m", "proprune_cli", *map(str, command)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    _wait_for(lambda: (out / "points/l1-ops-0.5/stages/finetune.partial").exists(), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "front.json").exists()
    trained = (out / "stages/dense/stage.json").stat().st_mtime_ns

    done = cli(*command, "--json")
    assert done.code == 0, done.err
    document = done.document
    assert (out / "stages/dense/stage.json").stat().st_mtime_ns == trained
    assert document["schema"] == "proprune.explore/1" and document["source"] == "predicted" and document["models"]
    networks = {network["name"]: network for network in document["networks"]}
    assert set(networks) == {"dense", "l1-ops-0.5", "l1-ops-0.5/thin", "l1-ops-0.25", "l1-ops-0.25/thin"}
    costs = [networks[name]["boards"][0]["latency_ms"] for name in ("l1-ops-0.25", "l1-ops-0.5", "dense")]
    assert costs == sorted(costs) and all(n["int8"]["images"] == 50 for n in networks.values())
    # The point that cannot be is kept with its reason, and stopped no other.
    assert [f["kind"] for f in document["failed"]] == ["BudgetError"]
    assert document["failed"][0]["name"] == "l1-params-0.0001" and document["failed"][0]["what"]
    # Trainings: one dense one, and of each point fine-tuning and a thin network, of all epochs.
    cost = document["cost"]
    assert cost["trainings"] == 5 and cost["estimated_joules"] == pytest.approx(12 * cost["cpu_seconds"])
    epochs = {t["stage"]: t["epochs"] for t in networks["l1-ops-0.25"]["trainings"]}
    assert epochs == {"dense": 2, "finetune": 1, "thin": 3}
    _see_that_fronts_hold(document)

    # The command on the page is the run's own: given again, it finds everything done.
    point = networks["l1-ops-0.25"]
    again = cli(*shlex.split(point["command"])[1:], "--json")
    assert again.code == 0 and again.err.count("done before") == 3, again.err
    assert again.document["result"]["finetuned"]["test_accuracy"] == point["accuracy"]
    assert again.document["trainings"] == point["trainings"] and again.document["cost"]["trainings"] == 3
    assert again.document["result"]["dense"]["params"] == networks["dense"]["params"]
    assert again.document["result"]["dense"]["test_accuracy"] == networks["dense"]["accuracy"]
    bench = cli("bench", out / "points/l1-ops-0.25", "--network", "pruned", "--json").document["rows"][0]
    assert bench["latency_ms"] == point["boards"][0]["latency_ms"]
    # Its runs are what scores of other variants are learned from.
    learned = {variant.budget: variant for variant in variants_of([out])}
    assert set(learned) == {"ops=0.5", "ops=0.25"} and learned["ops=0.25"].finetuned == point["accuracy"]
    assert learned["ops=0.25"].chance == 10 and learned["ops=0.25"].operations <= 0.25

    more = cli("explore", "--continue", "--add", 1, "--processes", 1, "--out", out, "--json", "--plot", out / "f.svg")
    assert more.code == 0, more.err
    (new,) = [n for n in more.document["networks"] if n["name"] not in networks and n["kind"] == "pruned"]
    assert new["budget"].startswith("ms=") and min(costs) < new["boards"][0]["latency_ms"] < max(costs)
    assert "<svg" in (out / "f.svg").read_text()
    assert new["name"] in (out / "front.html").read_text()
    assert cli("explore", "--continue", "--model", "lenet5", "--data", "digits", "--out", out).code == 1


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_no_point(cli: Cli, tmp_path: Path) -> None:
    """Two workers of a real scheduler share the points; one is killed in the middle of a training."""
    pytest.importorskip("distributed")
    command = ["explore", *ASKED, "--no-thin", *(a for share in (50, 30) for a in ("--budget", f"ops={share}%"))]
    here, there = tmp_path / "here", tmp_path / "there"
    assert cli(*command, "--out", here, "--json").code == 0
    with dask_cluster(tmp_path) as cluster:
        line = [*command, "--dask", cluster.address, "--out", there]
        process = subprocess.Popen(
            [sys.executable, "-m", "proprune_cli", *map(str, line)], stderr=subprocess.PIPE, start_new_session=True
        )
        _wait_for(lambda: any(there.glob("points/*/stages/finetune.partial")), process)
        cluster.kill()
        _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told.decode()
    fronts = [json.loads((out / "front.json").read_text()) for out in (here, there)]
    assert not fronts[1]["failed"]
    found = [
        {
            n["name"]: (n["accuracy"], *(n["boards"][0][figure] for figure in ("latency_ms", "energy_mj")))
            for n in networks
        }
        for networks in (front["networks"] for front in fronts)
    ]
    assert len(found[0]) == 3 and found[0] == found[1]


def _see_that_fronts_hold(document: dict[str, Any]) -> None:
    networks = {n["name"]: n for n in document["networks"]}
    for front in document["fronts"]:
        cost = {n: found["boards"][0][front["cost"]] for n, found in networks.items()}
        assert {*front["front"], *front["dominated"]} == {n for n in networks if networks[n]["kind"] != "thin"}
        for name in front["dominated"]:
            assert any(
                networks[o]["accuracy"] >= networks[name]["accuracy"] and cost[o] <= cost[name] for o in front["front"]
            )


def _wait_for(true: Any, process: subprocess.Popen[bytes], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)


class _AskedError(InputError):
    def __init__(self, options: PruneOptions) -> None:
        super().__init__("asked")
        self.options = options


TRAIN = st.builds(
    TrainOptions,
    batch=st.sampled_from([2, 128]),
    optimiser=st.sampled_from(["sgd", "adamw"]),
    lr=st.none() | st.floats(1e-4, 1, allow_subnormal=False),
    momentum=st.sampled_from([0.0, 0.9]),
    schedule=st.sampled_from(["onecycle", "constant"]),
    threads=st.integers(1, 3),
    loss=st.none() | st.just("my module:los's?a=1&b=2"),
)
OPTIONS = st.builds(
    PruneOptions,
    model=st.sampled_from(["lenet5", "pkg.nets:make?width=3&name=a b", "nets/my net.onnx"]),
    data=st.sampled_from(["digits?size=16", "/data/with space.npz"]),
    data_dir=st.none() | st.just(Path("some/where else")),
    method=st.sampled_from(["l1", "serene?mode=lower&lam=1e-4"]),
    budget=st.sampled_from(["ops=50%", "ms=0.75", "mj=40%", "ratio=0.3"]).map(Budget.parse),
    board=st.sampled_from(["pynq-z2", "zcu104"]),
    array=st.none() | st.just("z7020-256"),
    residual=st.sampled_from(["coupled", "free"]),
    min_keep=st.floats(0, 0.99),
    exclude=st.sampled_from([(), ("a.b", "c")]),
    epochs=st.none() | st.integers(0, 3),
    thin=st.booleans(),
    binary=st.booleans(),
    seed=st.integers(0, 9),
    train=TRAIN,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options=OPTIONS)
def test_the_command_of_a_point_asks_for_its_options(
    options: PruneOptions, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught: list[PruneOptions] = []

    def pruned(options: PruneOptions, *_: Any, **__: Any) -> None:
        caught.append(options)
        raise _AskedError(options)

    monkeypatch.setattr(flow_prune, "prune", pruned)
    monkeypatch.setattr("proprune_cli.prune.check", lambda _: None)
    keys = tmp_path / OWN_KEYS
    keys.unlink(missing_ok=True)
    if (content := own_keys(options)) is not None:
        keys.write_bytes(content)
    words = shlex.split(command_line(options, tmp_path / "run", keys))
    assert words[:2] == ["proprune", "prune"]
    done = cli(*words[1:])
    assert done.code == 1 and "asked" in done.err, done.err
    assert caught[0].to_json() == options.to_json()


def test_points_are_methods_with_budgets_and_boards_where_those_count() -> None:
    axes = Axes(("ops=50%", "ms=40%"), ("l1", "taylor"), ("pynq-z2", "zcu104"))
    points = axes.points(thin=True)
    assert len(points) == 2 * (1 + 2) == len({p.name for p in points})
    assert all(p.thin == (p.method == "l1") for p in points)
    assert {(t.board, t.array) for t in axes.targets()} == {("pynq-z2", "z7020-256"), ("zcu104", "zu-1024")}
    # The same written twice, or otherwise, is the same point.
    assert len(Axes(("ops=50%", "ops=0.5", "ops=50%"), ("l1", "l1")).points(thin=True)) == 1
    # A method that takes no budget gives one point, whatever the budgets are.
    free = next(m for m in ("guided", "serene", "slimming") if not takes_budget(m))
    assert [p.budget for p in Axes(("ops=50%", "ops=25%"), (free,)).points(thin=False)] == [""]


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1), min_size=2, unique=True))
def test_different_points_have_different_plain_names(methods: list[str]) -> None:
    names = [Point(method, "ops=0.5").name for method in methods]
    assert len(set(names)) == len(names)
    assert all("/" not in name and not name.startswith("..") for name in names)


def test_options_of_a_point_are_those_of_all_but_for_its_own() -> None:
    base = PruneOptions(model="lenet5", data="digits", seed=3)
    point = Point("taylor", "ms=0.5", "zcu104", "zu-1024", thin=False)
    expected = replace(
        base, method="taylor", budget=Budget("ms", 0.5, True), board="zcu104", array="zu-1024", thin=False
    )
    assert point.options(base) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--continue"], "no exploration to go on with"),
        (["--continue", "--budget", "ops=0.5"], "goes on with the budgets"),
        (["--model", "lenet5", "--data", "digits", "--budget", "ops=2"], "outside 0 to 1"),
        (["--model", "lenet5", "--data", "digits", "--method", "l7"], "l7"),
        (["--model", "lenet5", "--data", "digits", "--board", "pynq-z2", "--array", "zu-1024"], "cannot carry"),
        (["--model", "lenet5", "--data", "digits", "--add", "0"], "too few"),
        (["--data", "digits"], "--model"),
    ],
)
def test_what_means_nothing_is_told_and_leaves_nothing(
    arguments: list[str], told: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli("explore", *arguments, "--out", tmp_path / "front")
    assert done.code in (1, 2, 3) and told in done.err, done.err
    assert not (tmp_path / "front").exists()
