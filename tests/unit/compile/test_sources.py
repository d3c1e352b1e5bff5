"""Every operator of a model is named by the layer that computes it, whatever passes and fusing did."""

from __future__ import annotations

import copy
import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from onnx import StringStringEntryProto

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.frontend.source import SCOPES, source_of
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.pipeline import compile_model
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.work.plan import Plan
from tests.strategies import random_network
from tests.unit.compile.onnx_nets import model, node, random

ARRAY, BOARD = load_array("z7020-256"), load_board("pynq-z2")


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(random_network(grouped=True, images=2))
def test_no_operator_is_lost_on_its_way_to_a_pass(case: tuple[onnx.ModelProto, NDArray[np.float32]]) -> None:
    source, images = case
    imported = import_onnx(source)
    given_names = {s.name for found in imported.sources.values() for s in found}
    graph = canonicalise(imported)
    assert {s.name for found in graph.sources.values() for s in found} == given_names
    assert graph.sources.keys() <= {n.name for n in graph.nodes}
    passes = fuse(quantise(graph, images)[0])
    if not passes.layers:
        return
    computed = {s.name for layer in passes.layers for s in layer.sources}
    hosted = {s.name for step in passes.host for s in graph.sources.get(step.layer.name, ())}
    # What ends in an output through views alone, or between two steps of the host, is in no pass.
    missing = given_names - computed - hosted
    moves = ("Concat", "Select", "Pad", "Identity", "Host")
    makers = {n.name: type(n).__name__ for n in graph.nodes}
    owners = {s.name: makers[name] for name, found in graph.sources.items() for s in found}
    assert all(owners[name] in moves for name in missing)


def test_the_plan_names_what_each_layer_swallowed() -> None:
    source = model(
        node("Pad", ["x", "p"], ["padded"], name="pad"),
        node("Conv", ["padded", "stem.weight"], ["a"], name="conv"),
        node("BatchNormalization", ["a", *"gbmv"], ["n"], name="norm"),
        node("Relu", ["n"], ["r"], name="relu"),
        node("Dropout", ["r"], ["d"], name="dropout"),
        node("Conv", ["d", "w2"], ["c"], name="second", pads=[1, 1, 1, 1]),
        node("Add", ["c", "r"], ["s"], name="sum"),
        node("Sigmoid", ["s"], ["y"], name="table"),
        weights={
            "p": np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "stem.weight": random(4, 3, 3, 3),
            "w2": random(4, 4, 3, 3), "g": random(4), "b": random(4), "m": random(4), "v": random(4) ** 2 + 1,
        },
    )  # fmt: skip
    first, second = compile_model(source, random(3, 3, 6, 5), ARRAY, BOARD).plan.layers
    assert [s.name for s in first.work.sources] == ["pad", "conv", "norm", "relu"]
    assert [str(s) for s in first.work.sources][1] == "Conv stem"
    assert [s.name for s in second.work.sources] == ["dropout", "second", "sum", "table"]
    assert first.work.weight_bytes and first.work.taps == first.taps


@pytest.mark.parametrize(
    ("scopes", "module"),
    [
        ("['', 'layer1', 'layer1.0', 'layer1.0.relu', 'relu_1']", "layer1.0.relu"),
        ("['', 'add']", ""),
        ("not a list", ""),
        ("{'a': 1}", ""),
        ("[1, 2]", ""),
        ("", ""),
    ],
)
def test_the_module_of_an_operator_without_weights_is_its_innermost_scope(scopes: str, module: str) -> None:
    proto = node("Relu", ["x"], ["y"], name="relu")
    proto.metadata_props.append(StringStringEntryProto(key=SCOPES, value=scopes))
    assert source_of(proto).module == module


def test_the_names_of_the_older_exporter_are_paths_of_modules() -> None:
    """Every convolution of a network that torch exported through TorchScript, norms folded, is found by its name."""
    block = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU())

    class Stage(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(copy.deepcopy(block), copy.deepcopy(block))
            self.skip = torch.nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x) + self.skip(x)

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), Stage(), Stage()).eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 3, 8, 8),), file, dynamo=False)
    nodes = [n for n in onnx.load_from_string(file.getvalue()).graph.node if n.op_type == "Conv"]
    assert not any(name.endswith(".0.0.weight") for n in nodes for name in n.input)
    wanted = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d)]
    assert sorted(source_of(n).module for n in nodes) == sorted(wanted)


@pytest.mark.parametrize("name", ["conv", "/conv1", "a/b/Conv", "//Conv", "", "/layer/Relu", "/"])
def test_other_names_are_no_paths(name: str) -> None:
    assert source_of(node("Conv", ["x", "w"], ["y"], name=name)).module == ""


def test_a_layer_goes_by_the_module_that_multiplies_most() -> None:
    source = model(
        node("Conv", ["x", "small.weight"], ["a"], name="first"),
        node("Relu", ["a"], ["r"], name="relu"),
        node("MaxPool", ["r"], ["y"], name="pool", kernel_shape=[2, 2]),
        weights={"small.weight": random(4, 3, 3, 3)},
    )
    for name, module in (("relu", "act"), ("pool", "down")):
        proto = next(n for n in source.graph.node if n.name == name)
        proto.metadata_props.append(StringStringEntryProto(key=SCOPES, value=f"['', '{module}', 'op']"))
    plan = compile_model(source, random(3, 3, 6, 5), ARRAY, BOARD).plan
    assert [layer.module for layer in plan.layers] == ["small", "down"]
    assert [layer["module"] for layer in plan.to_json()["layers"]] == ["small", "down"]
    assert Plan.from_json(plan.to_json()) == plan
