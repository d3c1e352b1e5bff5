"""Additions of branches that are 0: which of them go, what goes with them, and that every executor agrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.passes.drop_zero import DROP_ZERO
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.graph import Conv, Graph, Node
from proprune_cli.ir.nodes import Add, Relu
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.window import Window
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model
from tests.executors import MEMORY, differing_bytes

RNG = np.random.default_rng(0)


def conv(x: str, y: str, scale: float) -> Conv:
    weight = scale * RNG.normal(size=(4, 4, 3, 3)).astype(np.float32)
    return Conv(y, x, y, weight, np.zeros(4, np.float32), Window((3, 3), pads=(1, 1, 1, 1)))


def graph(*nodes: Node, output: str) -> Graph:
    tensors = dict.fromkeys(("x", *(node.y for node in nodes)), (4, 5, 5))
    return Graph("g", tensors, nodes, "x", (Output(output, output, tensors[output]),))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_the_other_operand_is_all_that_is_left(relu: bool, first: bool) -> None:
    operands = ("none", "a") if first else ("a", "none")
    after = DROP_ZERO.run(
        graph(
            conv("x", "a", 1),
            conv("x", "none", 0),
            Add("add", *operands, "s", relu=relu),
            conv("s", "y", 1),
            output="y",
        )
    )
    assert not any(isinstance(node, Add) for node in after.nodes)
    assert any(isinstance(node, Relu) for node in after.nodes) == relu
    assert after.nodes[-1].inputs == (("s",) if relu else ("a",))


def test_what_is_not_zero_or_has_nothing_to_be_left_stays() -> None:
    bias = replace(conv("x", "none", 0), bias=np.ones(4, np.float32))
    for nodes in (
        (conv("x", "a", 1), bias, Add("add", "a", "none", "s")),
        (conv("x", "a", 1), conv("x", "none", 0), Add("add", "none", "a", "s", subtract=True)),
        (conv("x", "none", 0), Add("add", "x", "none", "s")),  # the output would be the input
    ):
        assert DROP_ZERO.run(graph(*nodes, output="s")).nodes[-1] is nodes[-1]


@pytest.mark.parametrize("gone", [("layer1.0",), ("layer2.0", "layer3.0"), ("layer1.0", "layer2.0", "layer3.0")])
def test_layers_of_branches_without_weights_are_not_in_the_program(gone: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = build_model("resnet8?widths=24,40,40", 1, 10, 12).eval()
    with torch.no_grad():
        for name in gone:
            norm = model.get_submodule(f"{name}.bn2")
            norm.weight.zero_()
            norm.bias.zero_()
    images = RNG.normal(size=(3, 1, 12, 12)).astype(np.float32)
    network = to_onnx(model, torch.zeros(2, 1, 12, 12), "n")
    float_graph = canonicalise(import_onnx(onnx.load_model_from_string(network)))
    assert sum(isinstance(node, Conv) for node in float_graph.nodes) == 11 - 2 * len(gone)
    assert sum(isinstance(node, Add) for node in float_graph.nodes) == 3 - len(gone)
    quantised, _ = quantise(float_graph, images)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert set(differing_bytes(quantised, program, images).values()) == {0}
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(model(torch.from_numpy(images)).detach().numpy(), wanted, atol=1e-5)
