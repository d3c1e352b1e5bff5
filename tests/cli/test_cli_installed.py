"""The wheel alone, in a folder without a checkout: whatever the commands read has to be inside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.resources import resource_dir

ROOT = Path(__file__).resolve().parents[2]
DATA = ("configs", "hls", "rtl", "bitstreams")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the project's own backend, which is among the development tools; nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    build = [sys.executable, "-m", "pip", "wheel", *quiet, "--no-build-isolation", "-w", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("proprune-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", *install, str(wheel)], check=True)
    return target


def command(installed: Path, here: Path, *arguments: str) -> str:
    """What a command says on stdout, from the folder ``here``, with an empty cache of engines beside it."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PROPRUNE_CACHE": str(here / "cache"), "HOME": str(here)}
    done = subprocess.run(
        [sys.executable, str(installed / "bin" / "proprune"), *arguments],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def network(path: Path) -> None:
    """Convolution, maximum and a fully connected layer, with weights of a fixed seed."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 3, 3, 3)), "b": rng.normal(size=8), "f": rng.normal(size=(72, 4))}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["l"]),
        helper.make_node("Gemm", ["l", "f"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_the_wheel_has_every_file_of_the_package_and_its_data(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {str(p.relative_to(ROOT)) for p in (ROOT / "proprune_cli").rglob("*.py")}
    for name in DATA:
        files = [p for p in resource_dir(name).rglob("*") if p.is_file() and "build" not in p.relative_to(ROOT).parts]
        assert files
        wanted |= {f"proprune_cli/_data/{p.relative_to(ROOT)}" for p in files}
    assert not wanted - inside
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/")) or name.endswith(".pyc")]


def test_the_installed_command_does_a_days_work_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    """The bytes are those of ONNX Runtime on the quantised model, and near those of the float one."""
    where = [sys.executable, "-c", "import proprune_cli; print(proprune_cli.__file__)"]
    found = subprocess.check_output(where, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, text=True)
    assert Path(found.strip()).is_relative_to(installed)
    assert command(installed, tmp_path, "--version").startswith("proprune ")
    boards = json.loads(command(installed, tmp_path, "boards", "--json"))
    assert "pynq-z2" in json.dumps(boards)

    images = np.random.default_rng(1).normal(size=(6, 3, 6, 6)).astype(np.float32)
    network(tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", images)
    command(installed, tmp_path, "compile", "net.onnx", "--calibration", "x.npy", "-o", "net.ppr")
    command(installed, tmp_path, "deploy", "net.ppr", "--board", "emulated:pynq-z2")
    for board, output in (("emulated:pynq-z2", "board.npy"), ("cpu", "cpu.npy")):
        command(installed, tmp_path, "run", "net.ppr", "-i", "x.npy", "-o", output, "--board", board)
    assert list((tmp_path / "cache").rglob("engine-*.so")), "the engine was built from the wheel's own sources"
    board, cpu = np.load(tmp_path / "board.npy"), np.load(tmp_path / "cpu.npy")
    np.testing.assert_array_equal(board, cpu)
    (exact,) = ort.InferenceSession(tmp_path / "net.onnx").run(None, {"x": images})
    assert np.abs(board - exact).max() < 0.05 * np.abs(exact).max()
    predicted = json.loads(command(installed, tmp_path, "bench", "net.ppr", "--board", "emulated:pynq-z2", "--json"))
    assert predicted["rows"][0]["source"] == "predicted"


def test_the_page_on_installing_agrees_with_the_project_file() -> None:
    page, project = (ROOT / "docs/install.md").read_text(), (ROOT / "pyproject.toml").read_text()
    extras = project.split("[project.optional-dependencies]", 1)[1].split("[project.scripts]", 1)[0]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == re.findall(r"^(\w+) = \[", extras, re.MULTILINE)
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert set(re.findall(r"torch==(\S+)", page)) == {pinned}
    for version in ("3.10", "3.11", "3.12"):
        assert version in page and f"Python :: {version}" in project
