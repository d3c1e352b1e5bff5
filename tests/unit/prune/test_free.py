"""Free residual branches: each loses its own channels, in PyTorch, in ONNX, on disk, in training and once more."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.shrunk import Shrunk
from proprune_cli.channels.spread import Spread
from proprune_cli.modules.probe import example_input
from proprune_cli.nets.export import to_onnx
from proprune_cli.nets.models import build_model
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.saved import Architecture, load_network, save_network
from proprune_cli.prune.shrinking import prune_network
from proprune_cli.prune.streams import clusters

SIZE = (16, 16)


def resnet() -> nn.Module:
    torch.manual_seed(3)
    model = build_model("resnet8", 3, 10, 16)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def pruned(model: nn.Module, budget: str = "ratio=0.5", **more: object) -> Shrunk:
    options = PruneOptions(
        model="resnet8", data="-", budget=Budget.parse(budget), **{"method": "random", "residual": "free", **more}
    )
    return prune_network(model, 3, SIZE, options)


def run(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(x).numpy()


def test_branches_of_a_stream_keep_different_channels_of_whole_clusters() -> None:
    model = resnet()
    shrunk = pruned(model, multiple=4)
    names = ("bn1", "layer1.0.bn2")
    places = []
    for name in names:
        module = shrunk.model.get_submodule(name)
        assert isinstance(module, Spread)
        assert isinstance(module, nn.BatchNorm2d)
        index = module.spread_index.numpy()
        places.append(set(np.flatnonzero(index < module.num_features)))
    assert places[0] != places[1]
    stream = next(g for g in shrunk.groups if g.name.startswith("stream of"))
    assert "every branch" in stream.reason
    assert stream.kept == len(places[0] | places[1])
    union = stream.kept
    assert union % 4 == 0
    assert len(places[0] & places[1]) % 4 == 0


def test_a_budget_in_operations_is_met_with_streams_counted() -> None:
    shrunk = pruned(resnet(), "ops=0.4", method="l1", multiple=2)
    assert shrunk.achieved <= 0.4
    assert shrunk.achieved >= 0.38 or shrunk.notes
    layers = {r.name: r for r in shrunk.layers}
    for name, module in shrunk.model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            outs, ins = module.weight.shape[:2]
            assert (layers[name].kept_out, layers[name].kept_in) == (outs, ins)


@pytest.mark.parametrize("dynamo", [True, False])
def test_onnx_runtime_computes_the_same_with_static_indices(dynamo: bool) -> None:
    shrunk = pruned(resnet())
    x = example_input(3, SIZE)
    if dynamo:
        data = to_onnx(shrunk.model, x)
    else:
        buffer = io.BytesIO()
        axes = {"input": {0: "n"}, "output": {0: "n"}}
        torch.onnx.export(
            shrunk.model, (x,), buffer, dynamo=False, opset_version=13, input_names=["input"],
            output_names=["output"], dynamic_axes=axes,
        )  # fmt: skip
        data = buffer.getvalue()
    graph = onnx.load_from_string(data).graph
    constants = {i.name for i in graph.initializer} | {n.output[0] for n in graph.node if n.op_type == "Constant"}
    gathers = [n for n in graph.node if n.op_type == "Gather" and n.input[1] in constants]
    channel_gathers = [n for n in gathers if any(a.name == "axis" and a.i == 1 for a in n.attribute)]
    assert len(channel_gathers) == sum(isinstance(m, Spread) for m in shrunk.model.modules()) >= 4
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    more = example_input(3, SIZE, batch=5, seed=9)
    found = np.asarray(session.run(None, {"input": more.numpy()})[0])
    expected = run(shrunk.model, more)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_free_network_is_stored_loaded_and_trained_on(tmp_path: Path) -> None:
    shrunk = pruned(resnet())
    x = example_input(3, SIZE)
    architecture = Architecture("resnet8", 3, 10, SIZE, json.loads(json.dumps(shrunk.cuts), object_hook=_whole))
    save_network(lambda name, data: (tmp_path / name).write_bytes(data), "pruned", architecture, shrunk.model)
    loaded = load_network(tmp_path)
    assert np.array_equal(run(loaded, x), run(shrunk.model, x))
    optimiser = torch.optim.SGD(loaded.parameters(), 0.05)
    losses = []
    for _ in range(8):
        loss = nnf.cross_entropy(loaded.train()(x), torch.tensor([1, 2]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


def _whole(axes: dict[str, object]) -> dict[object, object]:
    return {int(k) if k.isdigit() else k: v for k, v in axes.items()}


@pytest.mark.parametrize("then", ["free", "coupled"])
def test_a_free_network_is_pruned_once_more(then: str) -> None:
    once = pruned(resnet(), "ratio=0.3", multiple=1)
    twice = pruned(once.model, "ratio=0.4", multiple=1, residual=then)
    assert twice.error <= 1e-4
    assert twice.macs < 0.8 * once.macs
    layers = {r.name: r for r in twice.layers}
    for name, module in twice.model.named_modules():
        if isinstance(module, nn.Conv2d):
            assert (layers[name].kept_out, layers[name].kept_in) == module.weight.shape[:2]


def test_coupled_streams_need_no_spreading() -> None:
    shrunk = pruned(resnet(), residual="coupled")
    assert not [m for m in shrunk.model.modules() if isinstance(m, Spread)]


def test_the_last_sum_of_a_network_keeps_its_channels() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = nnf.relu(self.a(x))
            return (self.b(y) + self.c(y)).mean((2, 3))

    groups = analyse(Heads(), example_input(3, SIZE), residual="free").groups
    assert {g.name: g.prunable for g in groups} == {"a": True, "b": False, "input of a": False}


def test_clusters_hold_channels_that_branches_value_alike() -> None:
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat(np.arange(4), 8))
    value = np.eye(4)[:, kind] + rng.uniform(0, 0.1, (4, 32))
    found = clusters(value, 8)
    assert {len(set(kind[found == c])) for c in range(4)} == {1}
    assert np.bincount(clusters(rng.random((3, 21)), 8)).tolist() == [8, 8, 5]
