"""What is mutated: artifacts, ONNX models and one finished run, made once by the commands themselves."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.cli.app import run_cli

IMAGES = (4, 3, 8, 8)
PRUNE = (
    *(
        "prune",
        "--model",
        "lenet5?widths=8,8,16",
        "--data",
        "digits?size=16",
        "--epochs",
        "1",
        "--finetune-epochs",
        "1",
    ),
    *("--multiple", "4", "--budget", "ops=0.7", "--no-thin"),
)


def _weights(name: str, *shape: int) -> TensorProto:
    rng = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array((rng.normal(size=shape) / 3).astype(np.float32), name)


def networks() -> dict[str, onnx.ModelProto]:
    """Small networks: of the engine alone, with steps of the host, with an end on the host, with two outputs."""
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1])
    relu = helper.make_node("Relu", ["c"], ["r"], name="relu")
    head = [
        helper.make_node("GlobalAveragePool", ["last"], ["g"], name="mean"),
        helper.make_node("Flatten", ["g"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v", "d"], ["y"], name="fc", transB=1),
    ]
    plain = [
        helper.make_node("Conv", ["r", "u"], ["e"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["e", "r"], ["a"], name="add"),
        helper.make_node("MaxPool", ["a"], ["last"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    steps = [
        helper.make_node("LRN", ["r"], ["n"], name="norm", size=3, alpha=0.5),
        helper.make_node("MaxPool", ["n"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["p", "", "s"], ["up"], name="up", mode="linear"),
        helper.make_node("Conv", ["up", "u"], ["last"], name="second"),
    ]
    shapes = [
        helper.make_node("Shape", ["r"], ["sh"], name="shape"),
        helper.make_node("Gather", ["sh", "zero"], ["n0"], name="batch"),
        helper.make_node("Concat", ["n0", "rest"], ["to"], name="sizes", axis=0),
        helper.make_node("Reshape", ["r", "to"], ["q"], name="reshape"),
        helper.make_node("Sigmoid", ["q"], ["sg"], name="gate"),
        helper.make_node("Mul", ["q", "sg"], ["last"], name="silu"),
    ]
    tail = [helper.make_node("Softmax", ["y"], ["z"], name="shares", axis=1)]
    return {
        "plain": _model([conv, relu, *plain, *head], ["y"]),
        "steps": _model([conv, relu, *steps, *head, *tail], ["z"]),
        "shapes": _model([conv, relu, *shapes, *head], ["y", "last"]),
    }


def _model(nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.ModelProto:
    read = {name for node in nodes for name in node.input}
    tensors = [
        *(_weights("w", 8, 3, 3, 3), _weights("b", 8), _weights("u", 8, 8, 3, 3), _weights("v", 10, 8)),
        *(_weights("d", 10), numpy_helper.from_array(np.asarray([1, 1, 2, 1.5], np.float32), "s")),
        *(numpy_helper.from_array(np.asarray(v, np.int64), n) for n, v in (("zero", [0]), ("rest", [8, 8, 8]))),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *IMAGES[1:]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [tensor for tensor in tensors if tensor.name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def make_seeds(folder: Path, *, run: bool) -> None:
    """``NAME.onnx`` and ``NAME.ppr`` of each network, ``images.npy``, and with ``run`` the finished run ``run``."""
    if not (folder / "images.npy").exists():
        np.save(folder / "images.npy", np.random.default_rng(0).normal(size=IMAGES).astype(np.float32))
        for name, model in networks().items():
            onnx.save(model, folder / f"{name}.onnx")
            made = ("compile", folder / f"{name}.onnx", "--calibration", folder / "images.npy")
            quietly(*made, "-o", folder / f"{name}.ppr")
    if run and not (folder / "run" / "results.json").exists():
        quietly(*prune_command(folder / "run"))


def prune_command(out: Path) -> list[str]:
    """The command that made the run, which also resumes it."""
    return [*PRUNE, "--out", str(out)]


def quietly(*arguments: object) -> None:
    """Run a command that must succeed."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run_cli([str(a) for a in arguments])
    if code:
        raise RuntimeError(f"the seed could not be made: {said.getvalue()}")
