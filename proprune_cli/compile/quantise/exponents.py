"""Choosing the power-of-two scale of every activation tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from proprune_cli.compile.quantise.calibration import SAMPLES, Calibration, TensorStatistics
from proprune_cli.compile.quantise.pass_through import passed_operands
from proprune_cli.compile.quantise.tables import evaluate, function_of_node
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import F32, Activation, Conv, ConvTranspose, Graph, Node
from proprune_cli.ir.nodes import Add, Mul
from proprune_cli.ir.quantized import EXPONENT_SPREAD, MULTIPLIER_LIMIT, PRODUCT_SPREAD, REQUANT_SHIFT

CANDIDATES = 6
"""Exponents tried per tensor: the one that holds the peak, and finer ones that clip it."""

EXPONENT_OF_ZERO = -7
"""Exponent of a tensor that is zero on every image."""

FINEST = -40
"""No exponent is chosen below this: the accumulator's scale stays a normal float32."""


COARSEST = 62
"""No exponent can be forced above this by values that calibration admits."""


def squared_error(values: F32, exponent: int) -> float:
    """Sum of squared differences between ``values`` and their int8 codes with scale ``2**exponent``."""
    scale = np.float32(2.0**exponent)
    codes = np.clip(np.rint(values / scale), -128, 127)
    difference = codes * scale - values
    return float(np.square(difference).sum(dtype=np.float64))


def tied_groups(graph: Graph) -> dict[str, str]:
    """The representative of every tensor: what only moves codes, or picks among them, keeps their scale.

    So does an addition that leaves whole groups of channels as they are.
    """
    parent: dict[str, str] = {name: name for name in graph.tensors}

    def head(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in graph.nodes:
        if node.ties:
            for name in node.inputs:
                # The older tensor represents, so that the result does not depend on how groups grew.
                parent[head(node.y)] = head(name)
    for operand, result in passed_operands(graph):
        parent[head(result)] = head(operand)
    return {name: head(name) for name in graph.tensors}


def choose_exponents(graph: Graph, seen: Calibration) -> dict[str, int]:
    """Exponent of every tensor by least squared error over candidates, tied tensors together.

    Outputs of several channels, which may be scores of classes, are judged by the probabilities that they would stand
    for as well: least squares would rather clip a few of the largest values, and among scores those are the answer.
    The limits of additions and of the requantisation are met afterwards by ``legalise``.
    """
    leader = tied_groups(graph)
    members: dict[str, list[TensorStatistics]] = {}
    for name, head in leader.items():
        members.setdefault(head, []).append(seen.tensors[name])
    scores: dict[str, list[F32]] = {}
    for output, values in zip(graph.outputs, seen.outputs, strict=True):
        if values.shape[1] > 1:
            pixels = np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])
            every = max(1, values.size // SAMPLES)
            scores.setdefault(leader[output.tensor], []).append(pixels[::every])
    arguments = _arguments(graph, leader)
    chosen: dict[str, int] = {}
    for head, group in members.items():
        peak = max(one.peak for one in group)
        if peak == 0.0:
            chosen[head] = EXPONENT_OF_ZERO
            continue
        top = max(int(np.ceil(np.log2(peak / 127.0))), FINEST)
        tried = range(top, max(top - CANDIDATES, FINEST - 1), -1)
        errors = {e: _error(group, arguments.get(head, []), e) for e in tried}
        if head in scores:
            signal = sum(float(np.square(one.samples).sum(dtype=np.float64)) for one in group)
            errors = {e: error / signal + _error_of_probabilities(scores[head], e) for e, error in errors.items()}
        chosen[head] = min(errors, key=lambda e: (errors[e], -e))
    return {name: chosen[head] for name, head in leader.items()}


def _arguments(graph: Graph, leader: Mapping[str, str]) -> dict[str, list[Activation]]:
    """Tensors, alone in their group, that nothing but activations reads: what counts is the error after those."""
    groups: dict[str, int] = {}
    for head in leader.values():
        groups[head] = groups.get(head, 0) + 1
    found: dict[str, list[Activation]] = {}
    for name, readers in graph.consumers().items():
        functions = [node for node in readers if isinstance(node, Activation)]
        if functions and len(functions) == len(readers) and groups[leader[name]] == 1 and name not in graph.returned:
            found[name] = functions
    return found


def _error_of_probabilities(scores: Sequence[F32], exponent: int) -> float:
    """Squared error of the Softmax of ``scores`` (float32 [N, C] each) as codes, relative to the square of the real."""
    scale = np.float32(2.0**exponent)
    error = signal = 0.0
    for one in scores:
        real = _softmax(one)
        coded = _softmax(np.clip(np.rint(one / scale), -128, 127) * scale)
        error += float(np.square(real - coded).sum(dtype=np.float64))
        signal += float(np.square(real).sum(dtype=np.float64))
    return error / signal


def _softmax(scores: F32) -> F32:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _error(group: Sequence[TensorStatistics], functions: Sequence[Activation], exponent: int) -> float:
    """Squared error of the samples themselves, or, given ``functions``, of those functions' values."""
    if not functions:
        return sum(squared_error(one.samples, exponent) for one in group)
    total = 0.0
    scale = np.float32(2.0**exponent)
    for one in group:
        rounded = np.clip(np.rint(one.samples / scale), -128, 127) * scale
        for node in functions:
            f = function_of_node(node)
            difference = evaluate(f, rounded.astype(np.float32)) - evaluate(f, one.samples)
            total += float(np.square(difference).sum(dtype=np.float64))
    return total


def legalise(graph: Graph, exponents: Mapping[str, int], least: Mapping[str, int]) -> dict[str, int]:
    """Raise exponents until additions and multipliers are within their limits.

    Args:
        least: smallest exponent that a tensor may take, for tensors whose multipliers did not fit before.

    An exponent is only ever raised, and never above ``COARSEST``, so this ends.

    Raises:
        UnsupportedError: a product's scale is tied to its operand's, and the other operand is out of all proportion.
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
            elif isinstance(node, Mul):
                a, b, y = (value[leader[name]] for name in (node.a, node.b, node.y))
                bounds.append((node.y, a + b - PRODUCT_SPREAD))
                # The operand whose scale is finer can be raised with the smaller loss.
                bounds.append((node.a, y - PRODUCT_SPREAD - b) if a < b else (node.b, y - PRODUCT_SPREAD - a))
            elif isinstance(node, Conv | ConvTranspose):
                bounds.append((node.y, value[leader[node.x]] + _rise(node)))
            for name, bound in bounds:
                if value[leader[name]] < bound:
                    if bound > COARSEST:
                        raise _out_of_reach(node)
                    value[leader[name]] = bound
                    changed = True
    return {name: value[head] for name, head in leader.items()}


def _rise(node: Conv | ConvTranspose) -> int:
    """By how much the result's exponent must pass the input's (negative: may stay below) to keep m < 2**15.

    The largest weight must get a code of at most 127: ``max|w| / 127 * 2**(16 + ex - ey) <= 2**15 * 31/32``.
    """
    peak = float(np.abs(node.weight).max(initial=0.0))
    if peak == 0.0:
        return -1000
    return int(np.ceil(np.log2(peak / 127.0 * 2.0**REQUANT_SHIFT / (MULTIPLIER_LIMIT * 31 / 32))))


def _out_of_reach(node: Node) -> UnsupportedError:
    return UnsupportedError(
        f"{type(node).__name__} {node.name!r} combines tensors whose scales are out of all proportion",
        where=f"node {node.name!r} ({type(node).__name__})",
        remedy="check the weights and the calibration images for extreme values",
    )
