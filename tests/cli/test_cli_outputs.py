"""A detector with several outputs, some of them made by its end on the host, through every command."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from proprune_cli.artifact import load_artifact
from tests.unit.compile.onnx_nets import model, random
from tests.unit.compile.test_frontend_host import DETECTOR, DETECTOR_WEIGHTS

NAMES = ("f", "shares", "near", "all")
SHAPES = {"f": (4, 4, 6, 5), "shares": (4, 36, 5), "near": (4, 5, 6, 5), "all": (4, 36, 5)}
BOARDS = ("emulated:pynq-z2", "interpreter", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs")
    onnx.save(model(*DETECTOR, weights=DETECTOR_WEIGHTS, outputs=NAMES), path / "net.onnx")
    np.save(path / "images.npy", random(4, 3, 6, 5))
    return path


@pytest.fixture
def artifact(cli, folder: Path) -> Path:
    target = folder / "net.ppr"
    if not target.exists():
        done = cli("compile", folder / "net.onnx", "--calibration", folder / "images.npy", "-o", target)
        assert done.code == 0, done.err
    return target


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_run_writes_one_array_for_each_output_under_its_name(cli, artifact: Path, folder: Path, tmp_path: Path) -> None:
    targets = [tmp_path / f"{number}.npz" for number in range(len(BOARDS))]
    for board, target in zip(BOARDS, targets, strict=True):
        done = cli("run", artifact, "-i", folder / "images.npy", "-o", target, "--board", board, "--json")
        assert done.code == 0, done.err
        assert [(o["name"], tuple(o["shape"])) for o in done.document["outputs"]] == list(SHAPES.items())
    assert all(target.read_bytes() == targets[0].read_bytes() for target in targets)
    results = arrays(targets[0])
    assert {name: value.shape for name, value in results.items()} == SHAPES and tuple(results) == NAMES
    import onnxruntime as ort

    session = ort.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
    wanted = session.run(list(NAMES), {"x": np.load(folder / "images.npy")})
    for name, value in zip(NAMES, wanted, strict=True):
        assert np.abs(results[name] - np.asarray(value)).max() < 0.1 * np.abs(np.asarray(value)).max(), name


def test_codes_are_those_of_the_engines_outputs(cli, artifact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.random.default_rng(1).integers(-128, 128, (2, 3, 6, 5)).astype(np.int8))
    done = cli("run", artifact, "-i", tmp_path / "codes.npy", "-o", tmp_path / "y.npz", "--raw")
    assert done.code == 0, done.err
    found = {name: (value.dtype, value.shape) for name, value in arrays(tmp_path / "y.npz").items()}
    int8 = np.dtype(np.int8)
    assert found == {"f": (int8, (2, 4, 6, 5)), "near": (int8, (2, 5, 6, 5)), "far": (int8, (2, 5, 3, 2))}


def test_several_outputs_do_not_go_into_one_array(cli, artifact: Path, folder: Path, tmp_path: Path) -> None:
    done = cli("run", artifact, "-i", folder / "images.npy", "-o", tmp_path / "y.npy")
    assert done.code == 2
    assert "4 outputs (f, shares, near, all)" in done.err and "y.npz" in done.err
    assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize("board", BOARDS[:2])
def test_deploy_compares_every_byte_of_every_output(cli, artifact: Path, board: str) -> None:
    document = cli("deploy", artifact, "--board", board, "--json").document
    assert (document["bytes_compared"], document["bytes_different"]) == (4 * 30 + 5 * 30 + 5 * 6, 0)


def test_deploy_names_the_output_that_differs(cli, artifact: Path, tmp_path: Path) -> None:
    network = load_artifact(artifact)
    codes = network.golden.codes_out[1].copy()
    codes[3, 1, 2] ^= 1
    outputs = (network.golden.codes_out[0], codes, network.golden.codes_out[2])
    dataclasses.replace(network, golden=dataclasses.replace(network.golden, codes_out=outputs)).save(tmp_path / "w.ppr")
    done = cli("deploy", tmp_path / "w.ppr", "--board", "interpreter")
    assert done.code == 4
    assert "1 of 150 output bytes of 'near' differ" in done.err and "(3, 1, 2)" in done.err


def test_inspect_and_bench_know_every_output(cli, artifact: Path) -> None:
    done = cli("inspect", artifact, "--disassemble")
    assert done.code == 0, done.err
    for name in ("f", "near", "far"):
        assert f"output    {name}: [N, " in done.out and f"{name!r}" in done.out
    document = cli("inspect", artifact, "--json").document["manifest"]
    assert document["results"] == list(NAMES)
    assert [output["name"] for output in document["outputs"]] == ["f", "near", "far"]
    assert cli("bench", artifact, "--json").document["rows"][0]["host_ms"] > 0


def test_one_output_may_go_into_an_archive(cli, tiny, tmp_path: Path) -> None:
    for target in (tmp_path / "y.npy", tmp_path / "y.npz"):
        assert cli("run", tiny.artifact, "-i", tiny.images, "-o", target, "--board", "cpu").code == 0
    (name,) = arrays(tmp_path / "y.npz")
    np.testing.assert_array_equal(arrays(tmp_path / "y.npz")[name], np.load(tmp_path / "y.npy"))
    with zipfile.ZipFile(tmp_path / "y.npz") as archive:
        assert archive.namelist() == [f"{name}.npy"]
