"""What codes are known to be before any image is seen: always zero, or never negative."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.nodes import (
    Add as Add,
)
from proprune_cli.ir.nodes import (
    Concat as Concat,
)
from proprune_cli.ir.nodes import (
    MaxPool as MaxPool,
)
from proprune_cli.ir.nodes import (
    Mul as Mul,
)
from proprune_cli.ir.nodes import (
    Relu as Relu,
)
from proprune_cli.ir.nodes import (
    Select as Select,
)
from proprune_cli.ir.nodes import (
    Upsample as Upsample,
)
from proprune_cli.ir.quantized import QGraph
from proprune_cli.ops.rounding import requantise


def live_filters(weight: NDArray[np.int8], bias: NDArray[np.int32], multiplier: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Filters whose result is not always code 0, bool [out]; ``weight`` is int8 [out, …]."""
    constant = requantise(bias.astype(np.int64), multiplier.astype(np.int64))
    return np.asarray(weight.reshape(len(weight), -1).any(axis=1) | (constant != 0))


def nonnegative_codes(graph: QGraph) -> set[str]:
    """Tensors whose codes are never negative."""
    found: set[str] = set()
    for layer in graph.layers:
        if layer.never_negative or (layer.keeps_signs and found.issuperset(layer.inputs)):
            found.add(layer.y)
    return found
