"""Weights of dense passes: grouped ones spread out, gaps of a view filled with zeros; what a layer is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.compile.lower.engine_layer import View
from proprune_cli.compile.lower.views import selected
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer
from proprune_cli.work.macs import NetworkMacs


def asked_products(layer: QLayer, graph: QGraph) -> NetworkMacs:
    """Multiply-accumulates that ``layer`` computes of those the network asks for.

    They are counted on the model's own operators; a graph that came from no model asks for what its weights say.
    """
    found = NetworkMacs()
    if graph.sources:
        for source in graph.sources.get(layer.name, ()):
            found += NetworkMacs(source.macs, source.nonzero_macs)
    elif isinstance(layer, QConv | QConvTranspose):
        at = graph.tensors[layer.x if isinstance(layer, QConvTranspose) else layer.y]
        found = NetworkMacs.of_weight(layer.weight.size, int(np.count_nonzero(layer.weight)), at.height * at.width)
    return found


def network_products(graph: QGraph) -> NetworkMacs:
    """Multiply-accumulates that the whole network asks for, those of layers without a pass of their own included."""
    if not graph.sources:
        return sum((asked_products(layer, graph) for layer in graph.layers), NetworkMacs())
    sources = {source for found in graph.sources.values() for source in found}
    return sum((NetworkMacs(source.macs, source.nonzero_macs) for source in sources), NetworkMacs())


def dense_weight(weight: NDArray[np.int8], groups: int) -> NDArray[np.int8]:
    """Expand a grouped weight [out, in/groups, kh, kw] to [out, in, kh*kw]; off-group weights are 0."""
    out_channels, per_group = weight.shape[:2]
    flat = weight.reshape(out_channels, per_group, -1)
    if groups == 1:
        return flat
    full = np.zeros((out_channels, per_group * groups, flat.shape[2]), dtype=np.int8)
    share = out_channels // groups
    for g in range(groups):
        full[g * share : (g + 1) * share, g * per_group : (g + 1) * per_group] = flat[g * share : (g + 1) * share]
    return full


def over_slots(weight: NDArray[np.int8], view: View) -> NDArray[np.int8]:
    """Weight [out, channels, positions] over the slots of a view; gaps get weight 0."""
    if view.canonical:
        return weight
    out = np.zeros((len(weight), len(view.groups) * isa.GROUP, weight.shape[2]), dtype=np.int8)
    out[:, view.slots] = weight
    return out


def used_slots(weight: NDArray[np.int8], view: View) -> tuple[View, NDArray[np.int8]]:
    """The part of ``view`` that has weights, [out, channels, positions], and these over its slots.

    Groups of channels without any are left out, as where a pass copies some channels of many.
    """
    used = np.flatnonzero(weight.any(axis=(0, 2)))
    needed = np.isin(view.slots // isa.GROUP, np.unique(view.slots[used] // isa.GROUP))
    if not used.size or needed.all():
        return view, over_slots(weight, view)
    part = selected(view, np.flatnonzero(needed))
    return part, over_slots(weight[:, needed], part)
