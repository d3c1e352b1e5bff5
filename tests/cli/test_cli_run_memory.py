"""``run`` reads, computes and writes a part at a time: memory stays, and the bytes are those of all images at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import proprune_cli
from proprune_cli.artifact.arrays import ArrayWriter, encode_array, write_arrays
from proprune_cli.flow import stream
from tests.cli.conftest import Cli

SIDE = 64
IMAGE_BYTES = 4 * 3 * SIDE * SIDE
MEASURED = (
    "import sys\n"
    "from proprune_cli.cli.app import run_cli\n"
    "assert run_cli(sys.argv[1:]) == 0\n"
    "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
    "print(peak.split()[1], file=sys.stderr)\n"
)
"""Peak of what the process itself held, in KiB: ru_maxrss starts at what its parent had."""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that is quick on large images, with one output and with two, and one that takes three at a start."""
    folder = tmp_path_factory.mktemp("net")
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 3, 3, 3)), "f": rng.normal(size=(8, 4)), "g": rng.normal(size=(8, 2))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["l"]),
        helper.make_node("MatMul", ["l", "f"], ["y"]),
        helper.make_node("MatMul", ["l", "g"], ["z"]),
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", s]) for n, s in (("y", 4), ("z", 2))]
    given = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    source = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    for name, count in (("one", 1), ("two", 2)):
        graph = helper.make_graph(nodes[: 3 + count], name, source, outputs[:count], given[: 1 + count])
        path = folder / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
        proprune_cli.run_compile(path, folder / f"{name}.ppr", calibration=images(16))
    proprune_cli.run_compile(folder / "one.onnx", folder / "batch.ppr", calibration=images(16), batch=3)
    return folder


def images(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(count).standard_normal((count, 3, SIDE, SIDE), dtype=np.float32)


def peak(artifact: Path, count: int, board: str, folder: Path) -> int:
    """Bytes that ``run`` held at most, for ``count`` images; the output must have a row for each."""
    np.save(folder / "x.npy", images(count))
    command = ["run", str(artifact), "-i", str(folder / "x.npy"), "-o", str(folder / "y.npy"), "--board", board]
    done = subprocess.run([sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True)
    assert len(np.load(folder / "y.npy")) == count
    return int(done.stderr.split()[-1]) << 10


@pytest.mark.parametrize("board", ["emulated:pynq-z2", "cpu"])
def test_memory_does_not_grow_with_the_number_of_images(artifacts: Path, board: str, tmp_path: Path) -> None:
    few, many = 200, 2000
    grown = peak(artifacts / "one.ppr", many, board, tmp_path) - peak(artifacts / "one.ppr", few, board, tmp_path)
    assert grown < 0.15 * (many - few) * IMAGE_BYTES, f"{grown >> 20} MiB more"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seven images each, so that twenty take several."""
    monkeypatch.setattr(stream, "PART_BYTES", 7 * IMAGE_BYTES)


@pytest.mark.parametrize("name", ["one", "batch", "two"])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.usefixtures("small_parts")
def test_the_file_is_that_of_all_images_at_once(
    artifacts: Path, name: str, raw: bool, cli: Cli, tmp_path: Path
) -> None:
    path = artifacts / f"{name}.ppr"
    given: np.ndarray[Any, Any] = images(20)
    if raw:
        given = proprune_cli.run_inspect(path).program.codes(given)
    expected = proprune_cli.run_artifact(path, given, raw=raw)
    more = ["--raw"] if raw else []
    for order in "CF":
        np.save(tmp_path / "x.npy", np.asarray(given, order=order))  # type: ignore[call-overload]
        assert cli("run", path, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npz", *more).code == 0
        write_arrays(tmp_path / "expected.npz", expected)
        assert (tmp_path / "y.npz").read_bytes() == (tmp_path / "expected.npz").read_bytes()
        if len(expected) == 1:
            assert cli("run", path, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy", *more).code == 0
            assert (tmp_path / "y.npy").read_bytes() == encode_array(next(iter(expected.values())))
    assert (
        sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("y")) == ["y.npy", "y.npz"][len(expected) - 1 :]
    )


@pytest.mark.usefixtures("small_parts")
def test_pipes_on_both_sides(artifacts: Path, cli: Cli, tmp_path: Path) -> None:
    given, path = images(20), artifacts / "one.ppr"
    for name in ("in.npy", "out.npy"):
        os.mkfifo(tmp_path / name)
    read: list[bytes] = []
    feed = threading.Thread(target=lambda: (tmp_path / "in.npy").write_bytes(encode_array(given)))
    drain = threading.Thread(target=lambda: read.append((tmp_path / "out.npy").read_bytes()))
    feed.start()
    drain.start()
    done = cli("run", path, "-i", tmp_path / "in.npy", "-o", tmp_path / "out.npy")
    feed.join()
    drain.join()
    assert done.code == 0
    assert read == [encode_array(proprune_cli.run_artifact(path, given)["y"])]


@pytest.mark.usefixtures("small_parts")
def test_what_is_wrong_with_a_late_image_leaves_no_output(artifacts: Path, cli: Cli, tmp_path: Path) -> None:
    given = images(20)
    given[18, 1, 5, 5] = np.nan
    np.save(tmp_path / "x.npy", given)
    done = cli("run", artifacts / "one.ppr", "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert done.code == 1 and f"1 of {given.size} input values are NaN" in done.err
    for content, said in ((encode_array(given), "images 14 to 19"), (encode_array(images(20))[:-9], "cut short")):
        pipe = tmp_path / f"{len(content)}.npy"
        os.mkfifo(pipe)
        feed = threading.Thread(target=pipe.write_bytes, args=(content,))
        feed.start()
        done = cli("run", artifacts / "one.ppr", "-i", pipe, "-o", tmp_path / "y.npy")
        feed.join()
        assert done.code == 1 and said in done.err
    assert not [p.name for p in tmp_path.iterdir() if "y.npy" in p.name]


@pytest.mark.usefixtures("small_parts")
def test_clipping_is_told_once_with_the_share_of_all_images(artifacts: Path, cli: Cli, tmp_path: Path) -> None:
    given = images(20)
    given[10:] += 1000
    np.save(tmp_path / "x.npy", given)
    os.mkfifo(tmp_path / "pipe.npy")
    feed = threading.Thread(target=lambda: (tmp_path / "pipe.npy").write_bytes(encode_array(given)))
    feed.start()
    for name in ("x.npy", "pipe.npy"):
        done = cli("run", artifacts / "one.ppr", "-i", tmp_path / name, "-o", tmp_path / "y.npy")
        assert done.code == 0 and done.err.count("clipped") == 1 and "50% of the values" in done.err
    feed.join()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_output_that_fails_is_not_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"y{suffix}"
    path.write_bytes(b"of before")
    with pytest.raises(KeyError), ArrayWriter(path, 4) as writer:
        writer.write({"a": np.zeros((2, 3), np.float32)})
        raise KeyError
    assert path.read_bytes() == b"of before" and list(tmp_path.iterdir()) == [path]
