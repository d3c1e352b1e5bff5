"""Variants of a network are networks: what they compute is what their parent computes where nothing was taken away."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from benchmarks.networks import network
from benchmarks.predicted import quantised
from proprune_cli.accel import interpret
from proprune_cli.accel.array import load_array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.program import stack
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.timed import timed
from proprune_cli.ir.nodes import ShapeError
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph
from proprune_cli.nets.models import build_model
from proprune_cli.predict import variants
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.shrinking import prune_network
from tests.unit.compile.test_estimate import quantised as of_module

ARRAY = load_array("z7020-256")
MEMORY = Memory.planned(bandwidth_gb_s=1.4, latency_ns=300, clock_mhz=100)


@cache
def graph_of(name: str) -> QGraph:
    return quantised(network(name))


def outputs(graph: QGraph) -> np.ndarray:
    program, _ = lower(graph, ARRAY, MEMORY)
    t = graph.tensors[graph.input]
    image = np.random.default_rng(0).normal(size=(1, t.channels, t.height, t.width)).astype(np.float32)
    return np.concatenate([o.reshape(-1) for o in interpret.run(program, stack(program.codes(image))).outputs])


@pytest.mark.parametrize("name", ["resnet8-32", "squeezenet-32", "mobilenetv2-32"])
@pytest.mark.parametrize("free", [False, True])
def test_channels_that_are_zero_anyway_can_go(name: str, free: bool) -> None:
    """The same filters zeroed in place and cut away: both programs give the same bytes."""
    graph, rng = graph_of(name), np.random.default_rng(3)
    found = variants.streams(graph)
    filters: dict[str, np.ndarray] = {}
    for stream, makers in found.makers.items():
        channels = found.channels[stream]
        mask = rng.random(channels) < 0.6
        mask[rng.integers(channels)] = True
        for maker in makers:
            own = rng.random(channels) < 0.6
            own[rng.integers(channels)] = True
            filters[maker] = own if free else mask

    def zeroed(layer: object) -> object:
        if not isinstance(layer, QConv):
            return layer
        layer = replace(layer, bias=np.zeros_like(layer.bias))
        if layer.name not in filters:
            return layer
        return replace(layer, weight=layer.weight * filters[layer.name][:, None, None, None].astype(np.int8))

    still = replace(graph, layers=tuple(zeroed(layer) for layer in graph.layers))  # type: ignore[arg-type]
    cut = variants.narrowed(still, filters)
    before, after = (sum(c.weight.size for c in g.layers if isinstance(c, QConv)) for g in (graph, cut))
    assert after < 0.8 * before
    np.testing.assert_array_equal(outputs(cut), outputs(still))


@pytest.mark.parametrize("name", ["resnet8-32", "squeezenet-32", "mobilenetv2-32"])
def test_a_network_of_another_size_is_the_one_exported_for_it(name: str) -> None:
    spec = name.removesuffix("-32")
    other = quantised(replace(network(name), size=64))
    found = variants.resized(graph_of(name), (64, 64))
    assert {t.name: (t.channels, t.height, t.width) for t in found.tensors.values()}.items() >= {
        t.name: (t.channels, t.height, t.width) for t in other.tensors.values()
    }.items(), spec
    assert timed(found, ARRAY, MEMORY).timing.cycles == pytest.approx(
        timed(other, ARRAY, MEMORY).timing.cycles, rel=0.01
    )


def test_a_size_that_a_network_does_not_take_is_refused() -> None:
    with pytest.raises(ShapeError):
        variants.resized(graph_of("squeezenet-32"), (1, 1))


@pytest.mark.parametrize("spec", ["resnet8", "mobilenetv2?width=0.35", "squeezenet?width=0.5", "unet?width=0.25"])
@pytest.mark.parametrize("way", ["coupled", "free"])
def test_cut_in_integers_costs_what_cut_by_pruning_does(spec: str, way: str) -> None:
    """A network pruned as users do, exported and quantised, against the same numbers of channels cut from integers."""
    torch.manual_seed(0)
    model = build_model(spec, 3, 10, 32, gives="anything").eval()
    dense = of_module(model, (3, 32, 32))
    options = PruneOptions(model=spec, data="-", budget=Budget("ratio", 0.5), residual=way)  # type: ignore[arg-type]
    pruned = prune_network(model, 3, (32, 32), options).model.eval()
    _close(dense, pruned, way)


def _close(dense: QGraph, pruned: torch.nn.Module, way: str) -> None:
    """Filters of the pruned network's own convolutions, by the names of their tensors."""
    real = of_module(pruned, (3, 32, 32))
    by_name = {layer.name: layer for layer in real.layers if isinstance(layer, QConv | QConvTranspose)}
    found = variants.streams(dense)
    filters: dict[str, np.ndarray] = {}
    for stream, makers in found.makers.items():
        for maker in makers:
            if maker in by_name:
                axes = (0, 2, 3) if isinstance(by_name[maker], QConvTranspose) else (1, 2, 3)
                count = int((by_name[maker].weight != 0).any(axis=axes).sum())
                mask = np.zeros(found.channels[stream], dtype=np.bool_)
                mask[: max(count, 1)] = True
                filters[maker] = mask
    cut = variants.narrowed(dense, filters)
    program, _ = lower(real, ARRAY, MEMORY)
    wanted = estimate(program, ARRAY, MEMORY).cycles
    assert timed(cut, ARRAY, MEMORY).timing.cycles == pytest.approx(wanted, rel=0.02 if way == "coupled" else 0.15)


def test_weights_that_are_taken_away_are_those_of_the_method() -> None:
    graph = graph_of("resnet8-32")
    layers = variants.spatial(graph)
    assert layers and all(graph_layer(graph, name).window.positions == 9 for name in layers)
    guided = variants.reweighted(graph, variants.guided, layers)
    one = graph_layer(guided, layers[0]).weight != 0
    assert (one.reshape(*one.shape[:2], 9).sum(axis=2) == 1).all()
    rng = np.random.default_rng(0)
    less = variants.reweighted(graph, variants.without_positions(0.34, rng), layers)
    assert (graph_layer(less, layers[0]).weight != 0).any(axis=(0, 1)).sum() == 3
    signs = variants.reweighted(graph, variants.one_bit, layers)
    assert set(np.unique(graph_layer(signs, layers[0]).weight)) <= {-1, 0, 1}
    taps = variants.reweighted(graph, variants.without_taps(8, 16, 0.5, rng), layers)
    found = [timed(g, ARRAY, MEMORY).timing.cycles for g in (graph, taps, guided, signs)]
    assert found[2] < found[1] < found[0] and found[3] < found[0]


def graph_layer(graph: QGraph, name: str) -> QConv:
    return next(layer for layer in graph.layers if isinstance(layer, QConv) and layer.name == name)


def test_what_a_variant_asks_for_is_counted_by_operator() -> None:
    graph = graph_of("resnet8-32")
    counted = variants.counted(graph, graph)
    assert {name: s for name, s in counted.sources.items() if any(x.macs for x in s)}.keys() == {
        name for name, s in graph.sources.items() if any(x.macs for x in s)
    }
    for name, sources in counted.sources.items():
        assert [s.macs for s in sources] == [s.macs for s in graph.sources[name]], name


def test_random_draws_are_networks() -> None:
    from proprune_cli.flow.dataset import BASES
    from proprune_cli.predict.sampling import draw, plan, targets

    base = next(b for b in BASES if b.spec == "resnet8")
    rows = plan([base], targets(), 60, seed=5)
    picked = random.Random(0).sample(rows, 12)
    assert {row.method for row in rows} >= {"dense", "free", "guided", "taps"}
    for row in picked:
        drawn = draw(row, graph_of("resnet8-32"))
        again = draw(row, graph_of("resnet8-32"))
        costs = [timed(d.graph, ARRAY, MEMORY, d.batch).timing.cycles for d in (drawn, again)]
        assert costs[0] == costs[1] > 0 and 0 < drawn.share <= 1
        program, _ = lower(drawn.graph, ARRAY, MEMORY, drawn.batch)
        assert estimate(program, ARRAY, MEMORY).cycles == costs[0]
