"""Cycles from the work of layers against the loop model of the compiled network, over ways to prune and arrays.

``passes``: the layers are those that the compiler made. ``pruning``: they are the convolutions and fully connected
layers that pruning knows of, so that pooling, additions and norms of their own are missing. ``framed``: those, with
what stands between them in the dense network, as budgets count. ``ms``: the second call.
"""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import torch
from torch import nn

from benchmarks.networks import LARGE, SMALL, Network
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import estimate
from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse, map_channels
from proprune_cli.channels.trace import trace
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.estimate import ShapeModel
from proprune_cli.compile.frame import Frame
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.compile.shapes import works_of
from proprune_cli.errors import ProPruneError
from proprune_cli.flow.cost_models import engine_taps
from proprune_cli.ir.quantized import QGraph
from proprune_cli.modules.probe import example_input
from proprune_cli.prune import Budget, PruneOptions
from proprune_cli.prune.knapsack.engine import engine_structures
from proprune_cli.prune.knapsack.structures import norms
from proprune_cli.prune.methods.common.kernels import layers_in_order
from proprune_cli.prune.methods.guided import guided_masks
from proprune_cli.prune.shrinking import prune_network

KNAPSACK_SHARE = 0.4
"""Of the taps of each network, those that the knapsack keeps: the ones of the largest norm."""


def pruned(network: Network, how: str, array: Array) -> nn.Module | None:
    """The network pruned in one of the ways; None where the way has nothing to prune in it.

    ``array``: whose taps the knapsack takes away.
    """
    model = network.model()
    example = example_input(network.channels, (network.size, network.size))
    try:
        if how.startswith("free"):
            multiple = 8 if how == "free by 8" else 1
            options = PruneOptions(
                model=network.spec, data="-", budget=Budget("ratio", 0.5), residual="free", multiple=multiple
            )
            return prune_network(model, network.channels, (network.size, network.size), options).model.eval()
        weights = dict(model.named_parameters())
        if how.startswith("guided"):
            for name, mask in guided_masks(model, example).items():
                weight = weights[name].data
                if how == "guided+binary":
                    weight.copy_(weight.sign() * weight.abs().mean(dim=(1, 2, 3), keepdim=True))
                weight.mul_(mask)
    except ProPruneError:
        return None
    if how == "knapsack":
        channels = map_channels(model, trace(model, example, network.name), (), "coupled", {})
        structures = engine_structures(layers_in_order(model, example), channels, engine_taps(array))
        values = norms(structures, weights, 1)
        keep = values >= np.quantile(values, 1 - KNAPSACK_SHARE)
        for name, mask in structures.masks(keep).items():
            weights[name].data.mul_(mask)
    return model.eval()


WAYS = ("dense", "free by 8", "free", "guided", "guided+binary", "knapsack")


def quantised(model: nn.Module, network: Network) -> QGraph:
    """The network in integers, calibrated on two images of noise."""
    file = io.BytesIO()
    example = example_input(network.channels, (network.size, network.size))[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (example,), file, dynamo=False)  # pyright: ignore[reportArgumentType]
    return quantise(canonicalise(import_onnx(onnx.load_from_string(file.getvalue()))), network.images(2))[0]


def framed(network: Network) -> Frame | None:
    """What the compiler makes of the network as it is."""
    model = network.model().eval()
    table = CostTable(analyse(model, example_input(network.channels, (network.size, network.size))))
    return Frame.of(fuse(cluster(quantised(model, network))[0]), table.layers(table.full))


Errors = tuple[float, float, float]
"""Of passes, of what pruning knows, and of that in its frame."""


def rows(network: Network, ways: Sequence[str]) -> Iterator[tuple[str, Errors]]:
    """A line for each way and array, and its errors."""
    frame = framed(network)
    for way in ways:
        models: dict[str, tuple[nn.Module, QGraph]] = {}
        for name in array_names(own=False):
            array = load_array(name)
            # The knapsack's choice depends on the array, the others do not.
            key = name if way == "knapsack" else ""
            if key not in models:
                model = pruned(network, way, array)
                if model is None:
                    break
                models[key] = model, quantised(model, network)
            yield row(network, way, *models[key], array, frame)


def row(
    network: Network, way: str, model: nn.Module, graph: QGraph, array: Array, frame: Frame | None
) -> tuple[str, Errors]:
    """One network on one array."""
    memory = _memory(array)
    passes = works_of(fuse(cluster(graph)[0]))
    table = CostTable(analyse(model, example_input(network.channels, (network.size, network.size))))
    layers = table.surviving(dict(model.named_parameters()))
    whole = layers if frame is None else [work for work, _ in frame.attributed(layers)]
    walked = estimate(lower(graph, array, memory)[0], array, memory).cycles
    shapes = ShapeModel(array, memory)
    errors = [int(shapes.cycles(works).sum()) / walked - 1 for works in (passes, layers, whole)]
    start = time.process_time()
    shapes.cycles(whole)
    spent = (time.process_time() - start) * 1e3
    line = f"{network.name:24}{way:15}{array.name:11}{walked:10d}"
    return line + "".join(f"{error:9.2%}" for error in errors) + f"{spent:7.1f}", (errors[0], errors[1], errors[2])


def _memory(array: Array) -> Memory:
    return Memory.of(next(b for b in map(load_board, board_names()) if b.part == array.part), array)


def main(names: Sequence[str] = ()) -> None:
    print(f"{'network':24}{'way':15}{'array':11}{'compiled':>10}{'passes':>9}{'pruning':>9}{'framed':>9}{'ms':>7}")
    errors: list[Errors] = []
    for network in (*SMALL, *LARGE):
        if names and network.name not in names:
            continue
        for line, found in rows(network, WAYS if network in SMALL else WAYS[:1]):
            print(line, flush=True)
            errors.append(found)
    for label, part in zip(("passes", "pruning", "framed"), np.abs(errors).T, strict=True):
        print(f"{label}: mean error {part.mean():.2%}, largest {part.max():.2%}")


if __name__ == "__main__":
    main(sys.argv[1:])
