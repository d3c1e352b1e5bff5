"""A tiny network through every command that takes an artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from proprune_cli.artifact import load_artifact

BOARDS = ("emulated:pynq-z2", "interpreter", "cpu")


def test_compile_says_where_the_time_goes_and_the_memory(cli, tiny, tmp_path: Path) -> None:
    done = cli("compile", tiny.model, "--calibration", tiny.images, "-o", tmp_path / "net.ppr")
    assert done.code == 0
    assert "conv1" in done.out
    assert "predicted for pynq-z2" in done.out
    assert all(line.endswith(" …") for line in done.err.splitlines())


def test_compiling_twice_gives_the_same_bytes(cli, tiny, tmp_path: Path) -> None:
    assert cli("compile", tiny.model, "--calibration", tiny.images, "-o", tmp_path / "net.ppr").code == 0
    assert (tmp_path / "net.ppr").read_bytes() == tiny.artifact.read_bytes()


def test_compile_reports_in_json(cli, tiny, tmp_path: Path) -> None:
    document = cli("compile", tiny.model, "--calibration", tiny.images, "-o", tmp_path / "n.ppr", "--json").document
    assert document["schema"] == "proprune.compile/1"
    assert document["manifest"]["array"] == "z7020-256"
    assert document["bytes"] == (tmp_path / "n.ppr").stat().st_size
    assert document["plan"]["totals"]["macs"] == sum(layer["macs"] for layer in document["plan"]["layers"])


def test_inspect_shows_summary_plan_and_program(cli, tiny) -> None:
    shown = cli("inspect", tiny.artifact, "--plan", "--disassemble")
    assert shown.code == 0
    assert "every checksum agrees" in shown.out
    assert "dB above the error at the output, 6 images" in shown.out
    assert "predicted for" in shown.out
    assert "tap 0: base" in shown.out


def test_inspect_takes_one_layer_by_name_or_number(cli, tiny) -> None:
    name = load_artifact(tiny.artifact).program.layer_names[1]
    by_name = cli("inspect", tiny.artifact, "--layer", name, "--json").document["disassembly"]
    by_number = cli("inspect", tiny.artifact, "--layer", 1, "--json").document["disassembly"]
    assert by_name == by_number
    assert sum(line.startswith("layer ") for line in by_name) == 1


def test_the_extracted_onnx_model_is_the_one_that_was_compiled(cli, tiny, tmp_path: Path) -> None:
    target = tmp_path / "qdq.onnx"
    assert cli("inspect", tiny.artifact, "--extract-onnx", target).code == 0
    onnx.checker.check_model(onnx.load(target))
    assert target.read_bytes() == load_artifact(tiny.artifact).qdq


@pytest.mark.parametrize("raw", [False, True])
def test_every_executor_gives_the_same_bytes(cli, tiny, tmp_path: Path, raw: bool) -> None:
    rng = np.random.default_rng(5)
    images = rng.normal(size=(4, 1, 8, 8)).astype(np.float32)
    if raw:
        images = rng.integers(-128, 128, images.shape).astype(np.int8)
    np.save(tmp_path / "x.npy", images)
    outputs = []
    for number, board in enumerate(BOARDS):
        target = tmp_path / f"y{number}.npy"
        flags = ["--raw"] if raw else []
        assert cli("run", tiny.artifact, "-i", tmp_path / "x.npy", "-o", target, "--board", board, *flags).code == 0
        outputs.append(np.load(target))
    assert outputs[0].shape == ((4, 10, 1, 1) if raw else (4, 10))
    assert outputs[0].dtype == (np.int8 if raw else np.float32)
    assert len(np.unique(outputs[0])) > 4
    for other in outputs[1:]:
        assert outputs[0].tobytes() == other.tobytes()


def test_the_output_is_close_to_the_float_network(cli, tiny, tmp_path: Path) -> None:
    import onnxruntime as ort

    images = np.load(tiny.images)
    target = tmp_path / "y.npy"
    assert cli("run", tiny.artifact, "-i", tiny.images, "-o", target).code == 0
    session = ort.InferenceSession(str(tiny.model), providers=["CPUExecutionProvider"])
    real = np.concatenate([session.run(None, {"x": image[None]})[0] for image in images])
    assert np.abs(np.load(target) - real).max() < 0.1 * np.abs(real).max()


def test_run_reports_in_json(cli, tiny, tmp_path: Path) -> None:
    done = cli("run", tiny.artifact, "-i", tiny.images, "-o", tmp_path / "y.npy", "--board", "cpu", "--json")
    assert done.document["schema"] == "proprune.run/1"
    assert (done.document["images"], done.document["shape"], done.document["dtype"]) == (6, [6, 10], "float32")


@pytest.mark.parametrize("board", ["emulated:pynq-z2", "interpreter"])
def test_deploy_compares_every_byte(cli, tiny, board: str) -> None:
    document = cli("deploy", tiny.artifact, "--board", board, "--json").document
    assert document["bytes_compared"] == 10
    assert document["bytes_different"] == 0


def test_deploy_finds_one_wrong_byte(cli, tiny, tmp_path: Path) -> None:
    import dataclasses

    network = load_artifact(tiny.artifact)
    codes = network.golden.codes_out[0].copy()
    codes[3] ^= 1
    wrong = dataclasses.replace(network, golden=dataclasses.replace(network.golden, codes_out=(codes,)))
    wrong.save(tmp_path / "wrong.ppr")
    done = cli("deploy", tmp_path / "wrong.ppr", "--board", "emulated:pynq-z2")
    assert done.code == 4
    assert "1 of 10 output bytes differ" in done.err
    assert "(3, 0, 0)" in done.err


ROW = {"latency_ms", "cycles", "macs", "mac_utilisation", "energy_mj", "source", "layers", "model", "board"}


def test_bench_predicts_for_an_emulated_board(cli, tiny) -> None:
    document = cli("bench", tiny.artifact, tiny.artifact, "--board", "emulated:pynq-z2", "--json").document
    first, second = document["rows"]
    assert first == second
    assert first.keys() >= ROW
    assert first["source"] == "predicted"
    assert first["cycles"] == sum(layer["cycles"] for layer in first["layers"])
    assert first["macs"] == sum(layer["macs"] for layer in first["layers"])
    assert first["mac_utilisation"] == pytest.approx(first["useful_macs"] / first["cycles"] / 256)
    assert 0 < first["useful_macs"] <= first["nonzero_macs"] <= first["macs"]
    assert first["useful_macs"] <= first["issued_macs"] <= 256 * first["cycles"]
    assert first["latency_ms"] == pytest.approx(first["cycles"] / 100e6 * 1e3)
    assert first["energy_mj"] > 0
    assert all(c["source"] for c in first["coefficients"])
    assert {layer["bound"] for layer in first["layers"]} <= {"compute", "memory", "overhead"}


def test_bench_names_arrays_and_boards_where_they_differ(cli, tiny, tmp_path: Path) -> None:
    other = tmp_path / "other.ppr"
    made = cli("compile", tiny.model, "--calibration", tiny.images, "--array", "z7020-384", "-o", other)
    assert made.code == 0, made.err
    large = tmp_path / "zu.ppr"
    assert cli("compile", tiny.model, "--calibration", tiny.images, "--board", "zcu104", "-o", large).code == 0
    shown = cli("bench", tiny.artifact, other).out
    assert "z7020-256" in shown and "z7020-384" in shown and shown.startswith("on pynq-z2\n")
    boards = ("--board", "emulated:pynq-z2", "--board", "emulated:kv260", "--board", "emulated:zcu104")
    shown = cli("bench", tiny.artifact, large, *boards).out
    document = cli("bench", tiny.artifact, large, *boards, "--json").document
    found = [(row["artifact"], row["board"], row["array"]) for row in document["rows"]]
    first, second = str(tiny.artifact), str(large)
    assert found == [(first, "pynq-z2", "z7020-256"), (first, "kv260", "z7020-256"), (second, "zcu104", "zu-1024")]
    assert all(word in shown for row in found for word in row)
    refused = cli("bench", large, "--board", "emulated:pynq-z2", "--board", "emulated:kv260")
    assert refused.code == 4 and "none of emulated:pynq-z2, emulated:kv260 carries array zu-1024" in refused.err


def test_bench_measures_on_the_cpu_and_guesses_nothing(cli, tiny) -> None:
    (row,) = cli("bench", tiny.artifact, "--board", "cpu", "--json").document["rows"]
    assert row.keys() >= ROW
    assert row["source"] == "measured"
    assert 0 < row["latency_low_ms"] <= row["latency_ms"] <= row["latency_high_ms"]
    assert row["repetitions"] >= 30
    assert (row["cycles"], row["energy_mj"], row["mac_utilisation"]) == (None, None, None)


def test_bench_shows_a_table_and_its_sources(cli, tiny) -> None:
    done = cli("bench", tiny.artifact, "--layers")
    assert done.code == 0
    assert "predicted" in done.out
    assert "bound" in done.out
    assert done.err == ""


def test_boards_are_listed_and_honest_about_bitstreams(cli) -> None:
    document = cli("boards", "--json").document
    rows = {(row["board"], row["array"]): row for row in document["boards"]}
    assert ("pynq-z2", "z7020-256") in rows
    assert rows["pynq-z2", "z7020-256"]["bitstream"] == "not built"
    assert rows["pynq-z2", "z7020-256"]["reason"]
    assert "pynq-z2" in cli("boards").out
