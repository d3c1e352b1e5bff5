"""Parts of engine layers: expanded weights, copies, the shifts of an output stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.compile.lower.engine_layer import EngineLayer, Phase, Residual, View
from proprune_cli.compile.lower.transposed import Run
from proprune_cli.compile.lower.views import window_of
from proprune_cli.compile.quantise.pass_through import live_filters
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.quantized import EXPONENT_SPREAD, QAdd, QConv, QGraph, QMul, QTensor

COPY_CODE = 4
COPY_MULTIPLIER = (1 << 16) // COPY_CODE
"""A weight and a multiplier that requantise a code to itself."""


def copy_layer(name: str, view: View, y: QTensor) -> EngineLayer:
    """A pass that gives ``y`` the codes of ``view``."""
    layer = EngineLayer(name, "max", view, y.name, y.channels, (y.height, y.width))
    if view.canonical:
        return layer
    weight = np.zeros((y.channels, len(view.groups) * isa.GROUP, 1), dtype=np.int8)
    weight[np.arange(y.channels), view.slots] = COPY_CODE
    return replace(
        layer,
        kind="dense",
        weight=weight,
        bias=np.zeros(y.channels, dtype=np.int32),
        multiplier=np.full(y.channels, COPY_MULTIPLIER, dtype=np.int32),
    )


def rectangle_copy(name: str, view: View, y: QTensor, rows: Run, columns: Run) -> EngineLayer:
    """The pass that fills a rectangle of ``y`` from one of ``view``."""
    window = window_of(view, (rows.source, columns.source), (rows.count, columns.count))
    first, size = (rows.first, columns.first), (rows.count, columns.count)
    phase = Phase((y.height, y.width), first)
    return EngineLayer(f"{name}[{first[0]},{first[1]}]", "max", window, y.name, y.channels, size, phase=phase)


def asked_products(layer: QConv, y: QTensor) -> int:
    """Products that the network asks for; filters that a free branch dropped are no part of it."""
    filters = int(live_filters(layer.weight, layer.bias, layer.multiplier).sum())
    return filters * int(np.prod(layer.weight.shape[1:])) * y.height * y.width


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


def residual_operand(
    layer: QAdd | QMul, own: str, other: str, view: View, graph: QGraph, *, broadcast: bool
) -> Residual:
    """Shifts that put the operands on one scale and the result on the output's."""
    ey = graph.tensors[layer.y].exponent
    ea, eb = graph.tensors[own].exponent, graph.tensors[other].exponent
    if isinstance(layer, QMul):
        shift = ea + eb - ey
        _check_spread(layer, "Mul", abs(shift))
        combine = isa.Combine.MULTIPLY
        return Residual(view, combine, max(shift, 0), 0, max(-shift, 0), broadcast=broadcast)
    a, b = ea - ey, eb - ey
    _check_spread(layer, "Add", max(abs(a), abs(b)))
    right = max(0, -a, -b)
    return Residual(view, isa.Combine.ADD, a + right, b + right, right, layer.subtract, broadcast)


def operand_at(residual: Residual, phase: Phase) -> Residual:
    """The operand of a pass that fills some pixels of its planes: those same pixels of the operand's planes."""
    if residual.broadcast or phase.first == (0, 0):
        return residual
    view = residual.view
    shifted = replace(view, top=view.top + phase.first[0], left=view.left + phase.first[1])
    return replace(residual, view=shifted)


def _check_spread(layer: QAdd | QMul, op: str, spread: int) -> None:
    if spread > EXPONENT_SPREAD:
        raise UnsupportedError(
            f"the operands' scales differ from the result's by 2**{spread}",
            where=f"node {layer.name!r} ({op})",
            remedy=f"keep them within 2**{EXPONENT_SPREAD}: check the calibration images for extreme values",
        )
