"""A network with steps of the host between its layers, and an end on the host, through every command."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.artifact import load_artifact
from proprune_cli.artifact.seal import seal
from proprune_cli.errors import InputError
from proprune_cli.measure.predicted import predict
from tests.unit.compile.onnx_nets import model, node, random

STEPS = [["LRN"], ["Resize"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``net.onnx``: Conv, LRN, MaxPool, bilinear Resize, Conv, pooling, Softmax; and ``images.npy``."""
    path = tmp_path_factory.mktemp("host")
    network = model(
        node("Conv", ["x", "w"], ["c"], name="first", pads=[1, 1, 1, 1]),
        node("LRN", ["c"], ["n"], name="norm", size=3, alpha=0.5),
        node("MaxPool", ["n"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["p", "", "s"], ["u"], name="up", mode="linear"),
        node("Conv", ["u", "v"], ["d"], name="last"),
        node("GlobalAveragePool", ["d"], ["g"], name="mean"),
        node("Flatten", ["g"], ["f"], name="flat"),
        node("Softmax", ["f"], ["y"], name="shares", axis=1),
        weights={"w": random(9, 3, 3, 3), "v": random(5, 9, 1, 1), "s": np.asarray([1, 1, 2, 1.5], np.float32)},
    )
    onnx.save(network, path / "net.onnx")
    np.save(path / "images.npy", random(4, 3, 6, 5))
    return path


@pytest.fixture
def artifact(cli, folder: Path) -> Path:
    target = folder / "net.ppr"
    if not target.exists():
        done = cli("compile", folder / "net.onnx", "--calibration", folder / "images.npy", "-o", target)
        assert done.code == 0, done.err
    return target


def test_no_host_names_what_would_run_there(cli, folder: Path) -> None:
    calibration = ("--calibration", folder / "images.npy")
    done = cli("compile", folder / "net.onnx", *calibration, "-o", folder / "no.ppr", "--no-host")
    assert done.code == 3
    assert "LRN, Resize, Softmax would run on the host" in done.err and "'norm' (LRN)" in done.err
    assert not (folder / "no.ppr").exists()


def test_the_plan_lists_the_steps_where_they_run(cli, artifact: Path) -> None:
    document = cli("inspect", artifact, "--plan", "--json").document["plan"]
    assert [step["operators"] for step in document["host_steps"]] == STEPS
    assert [step["after"] for step in document["host_steps"]] == [1, 2]
    assert document["host_steps"][1]["inputs"] == [[9, 3, 2]] and document["host_steps"][1]["output"] == [9, 6, 3]
    assert document["host"] == ["Softmax"]
    shown = cli("inspect", artifact, "--plan", "--disassemble").out
    assert "2 host steps between them" in shown and "host: LRN" in shown
    assert shown.index("layer 0 'first'") < shown.index("host step 0 'norm': LRN") < shown.index("layer 1 'pool'")
    assert shown.index("then on the host: Softmax") > shown.index("2 steps between them on the host: LRN, Resize")


def test_every_executor_gives_the_same_bytes(cli, artifact: Path, folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", 2 * random(5, 3, 6, 5, seed=4))
    outputs: list[np.ndarray] = []
    for board in ("emulated:pynq-z2", "interpreter", "cpu"):
        done = cli("run", artifact, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--board", board)
        assert done.code == 0, done.err
        outputs.append(np.load(tmp_path / "y.npy"))
    assert len(np.unique(outputs[0])) > 5
    assert all(outputs[0].tobytes() == other.tobytes() for other in outputs[1:])
    np.testing.assert_allclose(outputs[0].sum(axis=1), 1, rtol=1e-5)
    assert cli("deploy", artifact, "--board", "emulated:pynq-z2").code == 0


def test_bench_predicts_what_the_host_takes(cli, artifact: Path) -> None:
    (row,) = cli("bench", artifact, "--board", "emulated:pynq-z2", "--json").document["rows"]
    assert 0 < row["host_low_ms"] < row["host_ms"] < row["host_high_ms"]
    assert "proprune host model 1" in row["model"]
    assert {c["name"] for c in row["coefficients"]} >= {"operator_us", "move_cycles", "function_cycles", "processor"}
    notes = [note for note in row["notes"] if "predicted by proprune host model 1" in note]
    assert len(notes) == 2 and "2 host steps between layers (LRN, Resize)" in notes[0]
    assert {c["name"] for c in row["coefficients"]} >= {"operator_us", "move_cycles", "processor"}
    assert row["cycles"] == sum(layer["cycles"] for layer in row["layers"])


def test_predicting_runs_nothing(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a prediction ran the host's part")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    record = predict(load_artifact(artifact), "net.ppr", load_board("pynq-z2"), load_array("z7020-256"))
    assert record.host_ms is not None and record.host_ms > 0


def test_the_artifact_holds_one_model_for_each_step(artifact: Path) -> None:
    with zipfile.ZipFile(artifact) as file:
        members = [name for name in file.namelist() if name.startswith("host")]
        manifest = json.loads(file.read("manifest.json"))
        for name in ("host/0.onnx", "host/1.onnx"):
            onnx.checker.check_model(onnx.load_from_string(file.read(name)))
    assert sorted(members) == ["host.onnx", "host/0.onnx", "host/1.onnx"]
    assert [step["model"] for step in manifest["host_steps"]] == ["host/0.onnx", "host/1.onnx"]
    loaded = load_artifact(artifact)
    assert loaded.pack() == artifact.read_bytes()
    assert [list(step.operators) for step in loaded.program.host_steps] == STEPS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"after": 99}, "does not stand between layers"),
        ({"after": -1}, "does not stand between layers"),
        ({"address": 0}, "outside the tensors' memory"),
        ({"address": 1 << 40}, "lies outside the buffer"),
        ({"model": "host/9.onnx"}, "malformed"),
        ({"operators": [1]}, "not a list of str"),
    ],
)
def test_a_step_that_cannot_be_is_refused(artifact: Path, tmp_path: Path, change: dict, message: str) -> None:
    with zipfile.ZipFile(artifact) as file:
        members = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(members["manifest.json"])
    step = manifest["host_steps"][0]
    (step["output"] if "address" in change else step).update(change)
    content = {name: data for name, data in members.items() if name not in ("manifest.json", "seal")}
    (tmp_path / "bad.ppr").write_bytes(seal({"manifest.json": json.dumps(manifest).encode(), **content}))
    with pytest.raises(InputError, match=message):
        load_artifact(tmp_path / "bad.ppr")


def test_a_damaged_model_of_a_step_is_an_error_of_the_user(cli, artifact: Path, tmp_path: Path) -> None:
    network = load_artifact(artifact)
    steps = network.program.host_steps
    broken = dataclasses.replace(steps[0], model=steps[0].model[:50])
    program = dataclasses.replace(network.program, host_steps=(broken, steps[1]))
    dataclasses.replace(network, program=program).save(tmp_path / "broken.ppr")
    done = cli("deploy", tmp_path / "broken.ppr", "--board", "interpreter")
    assert done.code == 1
    assert "is cut short" in done.err and "'norm' (LRN)" in done.err
