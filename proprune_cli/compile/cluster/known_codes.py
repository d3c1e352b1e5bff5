"""What codes are known to be before any image is seen: always zero, or never negative."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.quantized import (
    QAdd,
    QConcat,
    QConv,
    QConvTranspose,
    QGraph,
    QLayer,
    QMaxPool,
    QMul,
    QPad,
    QRelu,
    QSelect,
    QTable,
    QUpsample,
)
from proprune_cli.ops.rounding import requantise


def live_filters(weight: NDArray[np.int8], bias: NDArray[np.int32], multiplier: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Filters whose result is not always code 0, bool [out]; ``weight`` is int8 [out, …]."""
    constant = requantise(bias.astype(np.int64), multiplier.astype(np.int64))
    return np.asarray(weight.reshape(len(weight), -1).any(axis=1) | (constant != 0))


def nonnegative_codes(graph: QGraph) -> set[str]:
    """Tensors whose codes are never negative."""
    found: set[str] = set()
    for layer in graph.layers:
        if _clamps(layer) or (_keeps_signs(layer) and found.issuperset(layer.inputs)):
            found.add(layer.y)
    return found


def _clamps(layer: QLayer) -> bool:
    if isinstance(layer, QTable):
        return int(layer.table.min()) >= 0
    clamped = isinstance(layer, QConv | QConvTranspose | QMaxPool | QAdd | QMul) and layer.relu
    return isinstance(layer, QRelu) or clamped


def _keeps_signs(layer: QLayer) -> bool:
    if isinstance(layer, QPad):
        return layer.value >= 0
    if isinstance(layer, QAdd):
        return not layer.subtract
    return isinstance(layer, QMaxPool | QMul | QConcat | QSelect | QUpsample)
