"""Networks with free residual branches: every executor agrees, and what a branch dropped costs next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.engine_layer import EngineLayer
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.pipeline import compile_model, lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.graph import Conv
from proprune_cli.ir.nodes import Add
from proprune_cli.ir.quantized import QGraph
from proprune_cli.ops.reference import run_reference
from tests.differential.free_networks import FreeResNet, Survivors, arbitrary, clustered, exported, nested, settled
from tests.executors import MEMORY, differing_bytes

SIZE = 12
AGREE = dict.fromkeys(["HLS C++", "ONNX Runtime, optimised", "ONNX Runtime, as written"], 0)
KEEPING = pytest.mark.parametrize("survivors", [nested, clustered, arbitrary])


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def quantised(model: FreeResNet, *, dynamo: bool = False) -> QGraph:
    onnx_model = exported(settled(model, SIZE), SIZE, dynamo=dynamo)
    return quantise(canonicalise(import_onnx(onnx_model)), images())[0]


def engine_layers(graph: QGraph) -> dict[str, EngineLayer]:
    return {layer.name: layer for layer in fuse(cluster(graph)[0]).layers}


def groups_written(layers: dict[str, EngineLayer], part: str) -> int:
    (layer,) = (layer for name, layer in layers.items() if part in name)
    return -(-layer.channels // 8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True], ids=["legacy", "dynamo"])
def test_a_spread_branch_is_one_convolution_with_a_filter_for_every_channel_of_the_stream(dynamo: bool) -> None:
    model = settled(FreeResNet(nested, (24, 40), fill=0.25), SIZE)
    graph = canonicalise(import_onnx(exported(model, SIZE, dynamo=dynamo)))
    assert {type(node) for node in graph.nodes} == {Conv, Add}
    convolutions = [node for node in graph.nodes if isinstance(node, Conv)]
    assert [c.weight.shape[0] for c in convolutions] == [24, 12, 24, 12, 24, 20, 40, 40, 20, 40, 40, 10]
    dropped = ~convolutions[2].weight.any(axis=(1, 2, 3))
    assert dropped.sum() == 24 - len(nested(24, 0)) and (convolutions[2].bias[dropped] == np.float32(0.25)).all()


@pytest.mark.filterwarnings("ignore")
@KEEPING
@pytest.mark.parametrize("relu", [True, False], ids=["relu", "linear"])
@pytest.mark.parametrize("array", ["z7020-256", "zu-1024"])
def test_executors_agree_on_free_branches(survivors: Survivors, relu: bool, array: str) -> None:
    graph = quantised(FreeResNet(survivors, (40, 72), relu))
    program, _ = lower(graph, load_array(array), MEMORY)
    assert differing_bytes(graph, program, images()) == AGREE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fill", [0.3, -0.3])
def test_executors_agree_where_a_dropped_channel_is_not_zero(fill: float) -> None:
    graph = quantised(FreeResNet(clustered, (40, 72), fill=fill), dynamo=True)
    program, _ = lower(graph, load_array("z7020-256"), MEMORY)
    assert differing_bytes(graph, program, images()) == AGREE


@pytest.mark.filterwarnings("ignore")
@KEEPING
@pytest.mark.parametrize(
    "step", [nn.Softmax(dim=1), nn.Upsample(scale_factor=1.5, mode="bilinear")], ids=["over channels", "per channel"]
)
@pytest.mark.parametrize("fill", [0.0, 0.3])
def test_executors_agree_where_the_host_computes_between_the_blocks(
    survivors: Survivors, step: nn.Module, fill: float
) -> None:
    """A step of the host reads the stream in the order of the model, whatever order its planes have."""
    model = FreeResNet(survivors, (40, 72), fill=fill)
    model.blocks = nn.Sequential(*model.blocks[:2], step, *model.blocks[2:])
    graph = quantised(model)
    program, _ = lower(graph, load_array("z7020-256"), MEMORY)
    assert program.host_steps
    assert differing_bytes(graph, program, images()) == AGREE


@KEEPING
def test_moving_channels_changes_no_code_of_any_other_tensor(survivors: Survivors) -> None:
    graph = quantised(FreeResNet(survivors, (40, 72)))
    moved, streams = cluster(graph)
    assert streams and all(stream.after < stream.before for stream in streams)
    codes = np.random.default_rng(2).integers(-128, 128, (2, 3, SIZE, SIZE)).astype(np.int8)
    before, after = run_reference(graph, codes), run_reference(moved, codes)
    names = {name for stream in streams for name in stream.tensors}
    for name in graph.tensors:
        if name in names:
            np.testing.assert_array_equal(np.sort(before[name], axis=1), np.sort(after[name], axis=1))
        else:
            np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize("survivors", [nested, clustered])
def test_survivors_fill_whole_groups(survivors: Survivors) -> None:
    layers = engine_layers(quantised(FreeResNet(survivors, (64, 64))))
    for writer, part in enumerate(["blocks.0/conv2", "blocks.1/conv2"]):
        assert groups_written(layers, part) == -(-len(survivors(64, writer)) // 8)


def test_channels_that_a_branch_dropped_are_not_even_copied() -> None:
    graph = quantised(FreeResNet(clustered, (64, 64)))
    passes = fuse(cluster(graph)[0]).layers
    assert len(passes) == 12  # a convolution each: no pass for an addition
    (second,) = (layer for layer in passes if "blocks.1/conv1" in layer.name)
    assert len(second.view.storages) == 2  # the stem's planes, and those that the first block wrote


def test_where_a_clamp_would_change_the_other_operand_every_channel_is_computed() -> None:
    layers = engine_layers(quantised(FreeResNet(clustered, (32, 64))))
    # The shortcut of the third block is a convolution: its codes may be negative.
    assert groups_written(layers, "blocks.2/conv2") == 8
    assert groups_written(layers, "blocks.3/conv2") == 4


def test_a_network_without_dropped_filters_keeps_its_order() -> None:
    graph = quantised(FreeResNet(lambda channels, _: range(channels), (24, 24)))
    assert cluster(graph) == (graph, ())


@pytest.mark.filterwarnings("ignore")
def test_the_plan_names_the_streams_that_were_reordered() -> None:
    model = exported(settled(FreeResNet(clustered, (64, 64)), SIZE), SIZE, dynamo=False)
    compiled = compile_model(model, images(), load_array("z7020-256"), load_board("pynq-z2"))
    (stream, *_) = compiled.plan.streams
    assert stream.channels == 64 and any("blocks.0/conv2" in name for name in stream.writers)
    assert stream.groups < stream.groups_in_given_order


class OtherSpreads(nn.Module):
    """Channels dropped by a depthwise convolution, a transposed one, and a linear layer; a clamp before the spread."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.depthwise = nn.Conv2d(10, 10, 3, padding=1, groups=10)
        self.up = nn.ConvTranspose2d(16, 9, 2, 2)
        self.linear = nn.Linear(16 * SIZE * SIZE, 12)
        self.head = nn.Linear(16, 5)

    @staticmethod
    def spread(x: torch.Tensor, fill: float) -> torch.Tensor:
        filled = torch.cat([x, torch.full_like(x[:, :1], fill)], 1)
        kept = x.shape[1]
        index = torch.tensor([*range(kept - 2), *[kept] * (16 - kept), kept - 1, kept - 2])
        return filled.index_select(1, index)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = self.spread(self.depthwise(x), -0.2)
        wide = self.spread(torch.relu(self.up(x)), 0.0)
        x = x + nn.functional.max_pool2d(wide, 2)
        return self.head(self.spread(torch.relu(self.linear(x.flatten(1))), 0.5))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("array", ["z7020-256", "zu-1024"])
def test_executors_agree_where_other_layers_dropped_channels(array: str) -> None:
    torch.manual_seed(1)
    model = OtherSpreads().eval()
    given = images()
    with torch.no_grad():
        wanted = model(torch.from_numpy(given)).numpy()
    graph, report = quantise(canonicalise(import_onnx(exported(model, SIZE, dynamo=False))), given)
    assert report.output_sqnr_db > 20 and wanted.shape == (3, 5)
    program, _ = lower(graph, load_array(array), MEMORY)
    assert differing_bytes(graph, program, given) == AGREE
