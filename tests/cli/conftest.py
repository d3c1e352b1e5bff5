"""The command line in process, a tiny network, and its artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.cli.app import run_cli


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        document: dict[str, Any] = json.loads(self.out)
        return document


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("run", "net.ppr")`` runs ``proprune run net.ppr``."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run_cli([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def tiny_model(seed: int = 0, size: int = 8) -> onnx.ModelProto:
    """Conv 1→8 3×3, ReLU, Conv 8→8 with a residual, global pooling, Gemm 8→10."""
    rng = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> TensorProto:
        fan_in = max(1, int(np.prod(shape[1:])))
        return numpy_helper.from_array((rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["a2"], name="add2"),
        helper.make_node("Relu", ["a2"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [
            *(weights("w1", 8, 1, 3, 3), weights("b1", 8)),
            *(weights("w2", 8, 8, 3, 3), weights("b2", 8)),
            *(weights("w3", 10, 8), weights("b3", 10)),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@dataclass(frozen=True)
class Files:
    """Files of the tiny network."""

    model: Path
    images: Path
    artifact: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The tiny network, compiled once through the command line. Copy the files before changing one."""
    directory = tmp_path_factory.mktemp("tiny")
    files = Files(directory / "tiny.onnx", directory / "images.npy", directory / "tiny.ppr")
    onnx.save(tiny_model(), files.model)
    np.save(files.images, np.random.default_rng(1).normal(size=(6, 1, 8, 8)).astype(np.float32))
    code = run_cli(["compile", str(files.model), "--calibration", str(files.images), "-o", str(files.artifact)])
    assert code == 0
    return files
