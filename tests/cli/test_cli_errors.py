"""Every kind of bad input: its one-screen message (a golden file each) and its exit code."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.artifact import load_artifact
from proprune_cli.artifact.seal import seal
from tests.cli.conftest import Files, tiny_model

Arguments = list[str]
Case = Callable[[Files], Arguments]

CASES: dict[str, tuple[int, Case]] = {}


def case(code: int) -> Callable[[Case], Case]:
    """Register a case: it works in an empty current directory and returns the command line. ``code``: the exit code."""

    def register(make: Case) -> Case:
        CASES[make.__name__.replace("_", "-")] = (code, make)
        return make

    return register


# Artifacts


@case(1)
def artifact_missing(_: Files) -> Arguments:
    return ["inspect", "net.ppr"]


@case(1)
def artifact_truncated(tiny: Files) -> Arguments:
    content = tiny.artifact.read_bytes()
    Path("net.ppr").write_bytes(content[: len(content) // 2])
    return ["run", "net.ppr", "-i", "x.npy", "-o", "y.npy"]


@case(1)
def artifact_bit_flipped(tiny: Files) -> Arguments:
    content = bytearray(tiny.artifact.read_bytes())
    content[len(content) // 3] ^= 4
    Path("net.ppr").write_bytes(content)
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


@case(1)
def artifact_is_something_else(_: Files) -> Arguments:
    Path("net.ppr").write_text("hello")
    return ["bench", "net.ppr"]


@case(1)
def artifact_of_another_format(tiny: Files) -> Arguments:
    with zipfile.ZipFile(tiny.artifact) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    members["manifest.json"] = json.dumps({**manifest, "schema": "proprune.artifact/7"}).encode()
    Path("net.ppr").write_bytes(seal(members))
    return ["inspect", "net.ppr"]


def _with_program(tiny: Files, **changes: object) -> None:
    network = load_artifact(tiny.artifact)
    program = dataclasses.replace(network.program, **changes)  # type: ignore[arg-type]
    dataclasses.replace(network, program=program).save(Path("net.ppr"))


@case(4)
def artifact_of_another_contract(tiny: Files) -> Arguments:
    _with_program(tiny, digest="0123456789abcdef" * 4)
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


@case(4)
def artifact_for_an_unknown_array(tiny: Files) -> Arguments:
    _with_program(tiny, array="z7099-9000")
    return ["bench", "net.ppr"]


@case(4)
def artifact_for_an_array_the_board_cannot_take(tiny: Files) -> Arguments:
    from proprune_cli.accel.array import load_array

    _with_program(tiny, array="zu-1024", digest=load_array("zu-1024").digest)
    return ["deploy", "net.ppr", "--board", "emulated:pynq-z2"]


@case(2)
def artifact_without_that_layer(tiny: Files) -> Arguments:
    return ["inspect", str(tiny.artifact), "--layer", "conv99"]


# Boards


@case(4)
def board_without_bitstream(tiny: Files) -> Arguments:
    return ["deploy", str(tiny.artifact), "--board", "pynq-z2"]


@case(2)
def board_unknown(tiny: Files) -> Arguments:
    return ["deploy", str(tiny.artifact), "--board", "emulated:pynq-z9"]


@case(2)
def board_is_this_host(tiny: Files) -> Arguments:
    return ["deploy", str(tiny.artifact), "--board", "cpu"]


@case(2)
def board_without_a_clock(tiny: Files) -> Arguments:
    return ["bench", str(tiny.artifact), "--board", "interpreter"]


@case(4)
def board_answers_wrongly(tiny: Files) -> Arguments:
    network = load_artifact(tiny.artifact)
    codes = network.golden.codes_out[0].copy()
    codes[0] ^= 1
    dataclasses.replace(network, golden=dataclasses.replace(network.golden, codes_out=(codes,))).save(Path("net.ppr"))
    return ["deploy", "net.ppr", "--board", "interpreter"]


# Images


def _run(tiny: Files, array: np.ndarray, *more: str) -> Arguments:
    np.save("x.npy", array)
    return ["run", str(tiny.artifact), "-i", "x.npy", "-o", "y.npy", "--board", "cpu", *more]


@case(1)
def images_of_another_type(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((1, 1, 8, 8)))


@case(1)
def images_of_another_shape(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((2, 8, 8, 1), np.float32))


@case(1)
def images_with_nan(tiny: Files) -> Arguments:
    return _run(tiny, np.full((1, 1, 8, 8), np.nan, np.float32))


@case(1)
def images_none(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((0, 1, 8, 8), np.float32))


@case(1)
def images_raw_but_real(tiny: Files) -> Arguments:
    return _run(tiny, np.zeros((1, 1, 8, 8), np.float32), "--raw")


@case(1)
def images_not_an_array(tiny: Files) -> Arguments:
    Path("x.npy").write_text("1 2 3")
    return ["run", str(tiny.artifact), "-i", "x.npy", "-o", "y.npy"]


@case(1)
def images_as_python_objects(tiny: Files) -> Arguments:
    np.save("x.npy", np.array([{}], dtype=object), allow_pickle=True)
    return ["run", str(tiny.artifact), "-i", "x.npy", "-o", "y.npy"]


@case(1)
def output_directory_missing(tiny: Files) -> Arguments:
    return ["run", str(tiny.artifact), "-i", str(tiny.images), "-o", "nowhere/y.npy", "--board", "cpu"]


# Models


def _compile(model: onnx.ModelProto, images: np.ndarray | None = None) -> Arguments:
    onnx.save(model, "net.onnx")
    np.save("x.npy", np.ones((2, 1, 8, 8), np.float32) if images is None else images)
    return ["compile", "net.onnx", "--calibration", "x.npy", "-o", "net.ppr"]


def _weights(model: onnx.ModelProto, name: str) -> TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def _poisoned(value: float) -> onnx.ModelProto:
    model = tiny_model()
    tensor = _weights(model, "w2")
    array = numpy_helper.to_array(tensor).copy()
    array[0, 0, 0, 0] = value
    tensor.CopyFrom(numpy_helper.from_array(array, "w2"))
    return model


@case(1)
def model_missing(_: Files) -> Arguments:
    return ["compile", "net.onnx", "-o", "net.ppr"]


@case(1)
def model_truncated(tiny: Files) -> Arguments:
    arguments = _compile(tiny_model())
    content = Path("net.onnx").read_bytes()
    Path("net.onnx").write_bytes(content[: len(content) - 40])
    return arguments


@case(1)
def model_with_a_cycle(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.node[0].input[0] = "r2"
    return _compile(model)


@case(1)
def model_without_an_initializer(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.initializer.remove(_weights(model, "w2"))
    return _compile(model)


@case(1)
def model_with_nan_weights(_: Files) -> Arguments:
    return _compile(_poisoned(float("nan")))


@case(1)
def model_with_infinite_weights(_: Files) -> Arguments:
    return _compile(_poisoned(float("inf")))


@case(3)
def model_with_dynamic_shape(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    return _compile(model)


@case(3)
def model_in_float16(_: Files) -> Arguments:
    model = tiny_model()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return _compile(model)


@case(3)
def model_with_an_unsupported_operator(_: Files) -> Arguments:
    model = tiny_model()
    model.graph.node[1].CopyFrom(helper.make_node("NonZero", ["c1"], ["r1"], name="act1"))
    return _compile(model)


@case(3)
def model_of_a_newer_opset(_: Files) -> Arguments:
    model = tiny_model()
    model.opset_import[0].version = 99
    return _compile(model)


def _one_conv(channels: int, height: int, width: int, kernel: tuple[int, int], dilation: int) -> onnx.ModelProto:
    weight = np.ones((channels, 1, *kernel), np.float32) / (kernel[0] * kernel[1])
    span = [(k - 1) * dilation for k in kernel]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", kernel_shape=kernel, dilations=[dilation, dilation])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, height - span[0], width - span[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@case(3)
def model_that_does_not_fit_cma(_: Files) -> Arguments:
    return _compile(_one_conv(1, 2900, 2900, (1, 1), 1), np.ones((1, 1, 2900, 2900), np.float32))


@case(3)
def model_that_does_not_fit_bram(_: Files) -> Arguments:
    return _compile(_one_conv(1, 4, 9000, (1, 3), 4400), np.ones((1, 1, 4, 9000), np.float32))


# Calibration


@case(1)
def calibration_not_given(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "-o", "net.ppr"]


@case(1)
def calibration_empty(_: Files) -> Arguments:
    return _compile(tiny_model(), np.zeros((0, 1, 8, 8), np.float32))


@case(1)
def calibration_with_nan(_: Files) -> Arguments:
    return _compile(tiny_model(), np.full((2, 1, 8, 8), np.nan, np.float32))


@case(1)
def calibration_of_another_shape(_: Files) -> Arguments:
    return _compile(tiny_model(), np.zeros((2, 3, 8, 8), np.float32))


@case(1)
def calibration_missing(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", "x.npy", "-o", "net.ppr"]


@case(1)
def calibration_from_an_unknown_data_set(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", "imagenot", "-o", "net.ppr"]


# Options and run files


@case(2)
def array_unknown(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", str(tiny.images), "--array", "z9", "-o", "net.ppr"]


@case(2)
def board_to_plan_for_unknown(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", str(tiny.images), "--board", "z9", "-o", "net.ppr"]


@case(3)
def array_too_large_for_the_board(tiny: Files) -> Arguments:
    return ["compile", str(tiny.model), "--calibration", str(tiny.images), "--array", "zu-1024", "-o", "net.ppr"]


@case(1)
def run_unfinished(_: Files) -> Arguments:
    Path("run").mkdir()
    return ["compile", "run", "-o", "net.ppr"]


@case(1)
def run_file_with_faults(_: Files) -> Arguments:
    Path("run.yaml").write_text("version: 1\nprune: {modle: resnet8, epochs: many, seed: 0.5}\nextra: 1\n")
    return ["prune", "--config", "run.yaml", "--out", "run"]


@case(1)
def run_file_out_of_range(_: Files) -> Arguments:
    Path("run.yaml").write_text("version: 1\nprune: {model: resnet8, data: digits, budget: ops=2, train: {batch: 0}}\n")
    return ["prune", "--config", "run.yaml", "--out", "run"]


@case(2)
def budget_malformed(_: Files) -> Arguments:
    return ["prune", "--model", "resnet8", "--data", "digits", "--budget", "half", "--out", "run"]


# Users' own code


def _own(model: str, data: str, *more: str) -> Arguments:
    own = "tests.unit.prune.own_code:"
    return ["prune", "--model", own + model, "--data", own + data, "--epochs", "1", "--out", "run", *more]


@case(2)
def targets_without_a_loss(_: Files) -> Arguments:
    return _own("Regressor", "squares")


@case(1)
def loss_that_does_not_take_the_outputs(_: Files) -> Arguments:
    return _own("Detector", "squares", "--loss", "torch.nn:MSELoss", "--metric", "torch.nn:MSELoss")


@case(1)
def data_factory_that_gives_nonsense(_: Files) -> Arguments:
    return _own("Detector", "broken")


@case(1)
def several_results_for_a_classifier(_: Files) -> Arguments:
    return ["prune", "--model", "tests.unit.prune.own_code:Detector", "--data", "digits?size=16", "--out", "run"]


@case(1)
def module_to_exclude_unknown(_: Files) -> Arguments:
    return ["prune", "--model", "resnet8", "--data", "digits?size=16", "--exclude", "layer9", "--out", "run"]


@case(2)
def demo_of_unknown_data(_: Files) -> Arguments:
    return ["demo", "--data", "imagenot"]


@pytest.mark.parametrize("name", sorted(CASES))
def test_bad_input_is_explained(name, cli, tiny, golden, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, make = CASES[name]
    done = cli(*make(tiny))
    shown = done.err.replace(str(tiny.model.parent) + "/", "")
    shown = re.sub(r"\b[0-9a-f]{16}\b", "<digest>", shown)
    shown = re.sub(r"\S*/(configs|bitstreams)/", r"<installation>/\1/", shown)
    shown = re.sub(r"of proprune [\w.+]+", "of proprune <version>", shown)
    assert len(shown.splitlines()) <= 24, "a message is one screen at most"
    assert shown.startswith("error: ")
    assert "Traceback" not in shown
    assert done.out == ""
    assert done.code == code
    golden(f"errors/{name}.txt", f"exit {done.code}\n{shown}")
