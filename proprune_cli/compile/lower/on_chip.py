"""Which tensors live in the engine's own memory instead of in DDR.

A tensor may when only layers write it and only layers read it, as their input: residual operands, the network's input
and outputs and what the host computes with lie in DDR. Among those that may, the ones that save most DDR traffic for
the room they take go first; each is placed where it fits beside those that live at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.array import Array
from proprune_cli.compile.lower.allocate import Lifetime, gap_for
from proprune_cli.compile.lower.engine_layer import EngineGraph, EngineLayer
from proprune_cli.compile.lower.tile import Tiling


def choose(graph: EngineGraph, tilings: list[Tiling], lifetimes: list[Lifetime], array: Array) -> dict[str, int]:
    """Addresses, in words from the start of the engine's own memory, of the tensors that go there."""
    outside = {graph.input, *(output.tensor for output in graph.outputs)}
    for h in graph.host:
        outside.update((*h.xs, h.layer.y))
    return place(graph.layers, tilings, lifetimes, outside, [h.after for h in graph.host], array)


def place(
    layers: Sequence[EngineLayer],
    tilings: list[Tiling],
    lifetimes: list[Lifetime],
    outside: Set[str],
    stops: Sequence[int],
    array: Array,
) -> dict[str, int]:
    """`choose` for layers of which ``outside`` are the tensors that somebody else reads or writes.

    Args:
        stops: numbers of layers before which the processor computes.
    """
    saved = _traffic(layers, tilings, outside)
    # The engine's memory is undefined when it starts, so nothing there outlives a computation of the host.
    candidates = [
        t
        for t in lifetimes
        if t.words <= array.scratch_words
        and saved.get(t.name, 0) > 0
        and not any(t.first < stop <= t.last for stop in stops)
    ]
    placed: list[tuple[int, Lifetime]] = []
    for tensor in sorted(candidates, key=lambda t: (-saved[t.name] / (t.words * (t.last - t.first + 1)), t.name)):
        address = gap_for(tensor, placed)
        if address + tensor.words <= array.scratch_words:
            placed.append((address, tensor))
    return {tensor.name: address for address, tensor in placed}


def _traffic(layers: Sequence[EngineLayer], tilings: list[Tiling], outside: Set[str]) -> dict[str, int]:
    """DDR words that each tensor which may be on chip costs there: written once, read by every step that loads it."""
    barred = set(outside)
    for layer in layers:
        if layer.residual is not None:
            barred |= layer.residual.view.storages
    words: dict[str, int] = {}
    for layer, tiling in zip(layers, tilings, strict=True):
        stored, loaded = tiling.traffic
        words[layer.y] = words.get(layer.y, 0) + stored
        share = round(loaded / len(layer.view.groups))
        for name, _ in layer.view.groups:
            words[name] = words.get(name, 0) + share
    return {name: count for name, count in words.items() if name not in barred}


def groups_on_chip(layer: EngineLayer, tiling: Tiling, on_chip: Mapping[str, int]) -> NDArray[np.int64]:
    """How many of the groups that each step loads lie on chip, int64 [steps]."""
    _, first, end = tiling.reach
    if on_chip.keys().isdisjoint(layer.view.storages):
        return np.zeros(len(first), dtype=np.int64)
    before = np.concatenate([[0], np.cumsum([name in on_chip for name, _ in layer.view.groups])])
    return before[end] - before[first]
