"""Choosing the power-of-two scale of every activation tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from proprune_cli.compile.calibration import TensorStatistics
from proprune_cli.ir.graph import F32, Add, Conv, Graph, MaxPool, Relu
from proprune_cli.ir.quantized import EXPONENT_SPREAD, MULTIPLIER_LIMIT, REQUANT_SHIFT

CANDIDATES = 6
"""Exponents tried per tensor: the one that holds the peak, and finer ones that clip it."""

EXPONENT_OF_ZERO = -7
"""Exponent of a tensor that is zero on every image."""

FINEST = -40
"""No exponent is chosen below this: the accumulator's scale stays a normal float32."""


def squared_error(values: F32, exponent: int) -> float:
    """Sum of squared differences between ``values`` and their int8 codes with scale ``2**exponent``."""
    scale = np.float32(2.0**exponent)
    codes = np.clip(np.rint(values / scale), -128, 127)
    difference = codes * scale - values
    return float(np.square(difference).sum(dtype=np.float64))


def tied_groups(graph: Graph) -> dict[str, str]:
    """The representative of every tensor: max pooling and a standalone ReLU keep their input's scale."""
    leader: dict[str, str] = {graph.input: graph.input}
    for node in graph.nodes:
        leader[node.y] = leader[node.x] if isinstance(node, MaxPool | Relu) else node.y
    return leader


def choose_exponents(graph: Graph, seen: Mapping[str, TensorStatistics]) -> dict[str, int]:
    """Exponent of every tensor by least squared error over candidates, tied tensors together.

    The limits of additions and of the requantisation are met afterwards by ``legalise``.
    """
    leader = tied_groups(graph)
    members: dict[str, list[TensorStatistics]] = {}
    for name, head in leader.items():
        members.setdefault(head, []).append(seen[name])
    chosen: dict[str, int] = {}
    for head, group in members.items():
        peak = max(one.peak for one in group)
        if peak == 0.0:
            chosen[head] = EXPONENT_OF_ZERO
            continue
        top = max(int(np.ceil(np.log2(peak / 127.0))), FINEST)
        tried = range(top, max(top - CANDIDATES, FINEST - 1), -1)
        errors = {e: sum(squared_error(one.samples, e) for one in group) for e in tried}
        chosen[head] = min(errors, key=lambda e: (errors[e], -e))
    return {name: chosen[head] for name, head in leader.items()}


def legalise(graph: Graph, exponents: Mapping[str, int], least: Mapping[str, int]) -> dict[str, int]:
    """Raise exponents until additions and multipliers are within their limits.

    Args:
        least: smallest exponent that a tensor may take, for tensors whose multipliers did not fit before.

    An exponent is only ever raised, and never above what the largest one forces, so this ends.
    """
    leader = tied_groups(graph)
    value = {
        head: max([exponents[head], *(least.get(n, FINEST) for n in leader if leader[n] == head)])
        for head in set(leader.values())
    }
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            bounds: list[tuple[str, int]] = []
            if isinstance(node, Add):
                for operand in node.inputs:
                    bounds.append((node.y, value[leader[operand]] - EXPONENT_SPREAD))
                    bounds.append((operand, value[leader[node.y]] - EXPONENT_SPREAD))
            elif isinstance(node, Conv):
                bounds.append((node.y, value[leader[node.x]] + _rise(node)))
            for name, bound in bounds:
                if value[leader[name]] < bound:
                    value[leader[name]] = bound
                    changed = True
    return {name: value[head] for name, head in leader.items()}


def _rise(node: Conv) -> int:
    """By how much the result's exponent must pass the input's (negative: may stay below) to keep m < 2**15.

    The largest weight must get a code of at most 127: ``max|w| / 127 * 2**(16 + ex - ey) <= 2**15 * 31/32``.
    """
    peak = float(np.abs(node.weight).max(initial=0.0))
    if peak == 0.0:
        return -1000
    return int(np.ceil(np.log2(peak / 127.0 * 2.0**REQUANT_SHIFT / (MULTIPLIER_LIMIT * 31 / 32))))
