"""Programs for several images per start, through every command: the same bytes as one image at a time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from proprune_cli.artifact import load_artifact
from tests.cli.test_cli_host import folder as host_folder  # noqa: F401 - a fixture
from tests.unit.compile.onnx_nets import model, random
from tests.unit.compile.test_frontend_host import DETECTOR, DETECTOR_WEIGHTS

BOARDS = ("emulated:pynq-z2", "interpreter", "cpu")


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batch") / "four.ppr"


@pytest.fixture
def four(cli, tiny, batched: Path) -> Path:
    """The tiny network for four images per start; its six images fill one start and a half."""
    if not batched.exists():
        done = cli("compile", tiny.model, "--calibration", tiny.images, "--batch", "4", "-o", batched)
        assert done.code == 0, done.err
        assert "4 images per start" in done.out and "@0–3" in done.out
    return batched


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("raw", [False, True])
def test_a_batch_gives_the_same_bytes(cli, tiny, four: Path, tmp_path: Path, board: str, raw: bool) -> None:
    images = tiny.images
    if raw:
        images = tmp_path / "codes.npy"
        np.save(images, np.random.default_rng(2).integers(-128, 128, np.load(tiny.images).shape).astype(np.int8))
    options = ("--raw",) if raw else ()
    for artifact, target in ((tiny.artifact, "one.npy"), (four, "four.npy")):
        done = cli("run", artifact, "-i", images, "-o", tmp_path / target, "--board", board, *options)
        assert done.code == 0, done.err
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "four.npy").read_bytes()
    assert len(np.load(tmp_path / "four.npy")) == 6


@pytest.mark.parametrize("board", BOARDS[:2])
def test_deploy_compares_every_image(cli, four: Path, board: str) -> None:
    document = cli("deploy", four, "--board", board, "--json").document
    assert (document["bytes_compared"], document["bytes_different"]) == (40, 0)


def test_deploy_finds_a_wrong_byte_of_the_last_image(cli, four: Path, tmp_path: Path) -> None:
    network = load_artifact(four)
    codes = network.golden.codes_out[0].copy()
    codes[7, 3, 0] ^= 1
    wrong = dataclasses.replace(network, golden=dataclasses.replace(network.golden, codes_out=(codes,)))
    wrong.save(tmp_path / "wrong.ppr")
    done = cli("deploy", tmp_path / "wrong.ppr", "--board", "emulated:pynq-z2")
    assert done.code == 4 and "1 of 40 output bytes differ" in done.err


def test_bench_reports_a_start_and_an_image(cli, tiny, four: Path) -> None:
    one, batch = cli("bench", tiny.artifact, four, "--json").document["rows"]
    assert (one["batch"], batch["batch"]) == (1, 4)
    assert one["start_ms"] == one["latency_ms"]
    assert batch["start_ms"] == pytest.approx(4 * batch["latency_ms"]) == pytest.approx(batch["cycles"] / 1e5)
    assert batch["latency_ms"] < one["latency_ms"] and batch["macs"] == one["macs"]
    assert batch["mac_utilisation"] == pytest.approx(4 * batch["useful_macs"] / batch["cycles"] / 256)
    assert "ms/start" in cli("bench", tiny.artifact, four).out
    assert "ms/start" not in cli("bench", tiny.artifact).out


def test_inspect_shows_the_batch_and_one_row_for_its_twins(cli, four: Path) -> None:
    done = cli("inspect", four, "--plan")
    assert "4 images per start" in done.out
    plan = cli("inspect", four, "--plan", "--json").document["plan"]
    twins = [layer["twin"] for layer in plan["layers"]]
    assert plan["totals"]["batch"] == 4 and len(twins) > len([t for t in twins if t is None])
    listed = [line for line in done.out.splitlines() if "@" in line and "@0–3" not in line]
    assert listed == []
    shared = {layer["name"] for layer in plan["layers"] if layer["twin"] is None and "@" not in layer["name"]}
    assert shared and all(f"\n{name} " in done.out for name in shared)


def test_a_batch_of_several_outputs_with_an_end_on_the_host(cli, tmp_path: Path) -> None:
    names = ("f", "shares", "near", "all")
    onnx.save(model(*DETECTOR, weights=DETECTOR_WEIGHTS, outputs=names), tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", random(5, 3, 6, 5))
    for batch in (1, 3):
        net, out = tmp_path / f"{batch}.ppr", tmp_path / f"{batch}.npz"
        options = ("--calibration", tmp_path / "images.npy", "--batch", batch)
        assert cli("compile", tmp_path / "net.onnx", *options, "-o", net).code == 0
        assert cli("deploy", net, "--board", "interpreter").code == 0
        assert cli("run", net, "-i", tmp_path / "images.npy", "-o", out).code == 0
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "3.npz").read_bytes()


def test_more_images_than_there_are_for_calibration(cli, tiny, tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.load(tiny.images)[:2])
    done = cli("compile", tiny.model, "--calibration", tmp_path / "two.npy", "--batch", "3", "-o", tmp_path / "net.ppr")
    assert done.code == 0, done.err
    golden = load_artifact(tmp_path / "net.ppr").golden.image
    np.testing.assert_array_equal(golden, np.load(tiny.images)[[0, 1, 0]])


def test_steps_of_the_host_between_layers(cli, host_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    images = host_folder / "images.npy"
    for batch in (1, 2):
        net = tmp_path / f"{batch}.ppr"
        done = cli("compile", host_folder / "net.onnx", "--calibration", images, "--batch", batch, "-o", net)
        assert done.code == 0, done.err
        assert cli("deploy", net, "--board", "emulated:pynq-z2").code == 0
        assert cli("run", net, "-i", images, "-o", tmp_path / f"{batch}.npy").code == 0
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "2.npy").read_bytes()
    assert "host step" in cli("bench", tmp_path / "2.ppr").out


def test_the_default_is_the_program_of_one_image(cli, tiny, tmp_path: Path) -> None:
    done = cli("compile", tiny.model, "--calibration", tiny.images, "--batch", "1", "-o", tmp_path / "one.ppr")
    assert done.code == 0, done.err
    assert (
        load_artifact(tmp_path / "one.ppr").program.image.tobytes()
        == load_artifact(tiny.artifact).program.image.tobytes()
    )
    assert cli("compile", tiny.model, "--calibration", tiny.images, "--batch", "0", "-o", tmp_path / "no.ppr").code == 2
