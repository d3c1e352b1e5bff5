"""Multiply-accumulates of network and array: never more done than asked, never more issued than there is time for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.lower.dense import network_products
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.plan import make_plan
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer, QTensor
from proprune_cli.ir.window import Window
from proprune_cli.work.macs import NetworkMacs, utilisation
from tests.differential.test_lowering import accumulators_bounded
from tests.differential.test_sparse_layers import PATTERNS, masked
from tests.executors import MEMORY
from tests.qnetworks import arrays, quantised_networks


def products(layer: QLayer, graph: QGraph) -> tuple[int, int]:
    """Products with a weight that is not 0, counted one position at a time: of those asked for, and that reach a pixel.

    Those of a convolution that meet padding are asked for; those of a transposed one that are cut off are not done.
    """
    if isinstance(layer, QConv):
        y = graph.tensors[layer.y]
        both = int((layer.weight != 0).sum()) * y.height * y.width
        return both, both
    if not isinstance(layer, QConvTranspose):
        return 0, 0
    x, y, window = graph.tensors[layer.x], graph.tensors[layer.y], layer.window
    asked = kept = 0
    for i, j in np.ndindex(*layer.weight.shape[2:]):
        weights = int((layer.weight[:, :, i, j] != 0).sum())
        for row, column in np.ndindex(x.height, x.width):
            top = row * window.stride[0] + i * window.dilation[0] - window.pads[0]
            left = column * window.stride[1] + j * window.dilation[1] - window.pads[1]
            asked += weights
            kept += weights * (0 <= top < y.height and 0 <= left < y.width)
    return asked, kept


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    quantised_networks(),
    arrays(),
    st.sampled_from([None, *PATTERNS, "binary"]),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)
def test_useful_is_part_of_issued_and_utilisation_a_share(
    network: tuple[QGraph, np.ndarray], array: Array, pattern: str | None, batch: int, seed: int
) -> None:
    graph, rng = network[0], np.random.default_rng(seed)

    def sparse(layer: QLayer) -> QLayer:
        if not isinstance(layer, QConv | QConvTranspose) or pattern is None:
            return layer
        weight = np.sign(layer.weight) if pattern == "binary" else masked(layer.weight, pattern, rng)
        return dataclasses.replace(layer, weight=weight.astype(np.int8))

    graph = dataclasses.replace(graph, layers=tuple(sparse(layer) for layer in graph.layers))
    assume(accumulators_bounded(graph))
    try:
        program, layers = lower(graph, array, MEMORY, batch)
    except DoesNotFitError:
        assume(False)
        raise
    asked, kept = (batch * sum(n) for n in zip(*(products(layer, graph) for layer in graph.layers), strict=True))
    timing = estimate(program, array, MEMORY)
    plan = make_plan(layers, program, timing, array, network_products(graph).times(batch))
    totals = plan.totals
    assert totals.useful_macs is not None and totals.issued_macs is not None and totals.mac_utilisation is not None
    assert totals.nonzero_macs == asked <= totals.macs
    # A batch leaves out kernel rows that meet nothing but padding.
    assert totals.useful_macs == kept if batch == 1 else totals.useful_macs <= kept
    for row, predicted in zip(plan.layers, timing.layers, strict=True):
        assert row.useful_macs is not None and row.issued_macs is not None and row.mac_utilisation is not None
        assert row.useful_macs <= row.issued_macs <= predicted.iterations * array.macs_per_cycle
        assert 0 <= row.mac_utilisation <= 1
        assert row.cycles_of_next_best_tiling is None or row.cycles_of_next_best_tiling >= row.cycles
    assert totals.issued_macs <= timing.cycles * array.macs_per_cycle
    assert 0 <= totals.mac_utilisation <= 1


def one_layer(layer: QConv | QConvTranspose, x: QTensor, size: tuple[int, int]) -> QGraph:
    """A network of ``layer`` alone, with a result of ``size``."""
    y = QTensor("y", len(layer.bias), *size, 0)
    return QGraph("one", {"x": x, "y": y}, (layer,), "x", (Output("y", "y", (y.channels, *size)),))


def conv(weight: np.ndarray, groups: int = 1, pad: int = 0) -> QConv:
    n = len(weight)
    window = Window.over(weight.shape[2:], pads=(pad, pad, pad, pad))
    return QConv("c", "x", "y", weight.astype(np.int8), np.zeros(n, np.int32), np.ones(n, np.int32), window, groups)


@pytest.mark.parametrize(
    ("weight", "channels", "groups", "issued", "useful"),
    [
        # 16 lanes by 8 filters, each of the 36 pixels.
        (np.ones((8, 16, 1, 1)), 16, 1, 16 * 8 * 36, 16 * 8 * 36),
        # Lanes and filters beyond the network's idle.
        (np.ones((5, 9, 1, 1)), 9, 1, 9 * 5 * 36, 9 * 5 * 36),
        # A zero weight within a tap is multiplied, to no use.
        (np.eye(8).reshape(8, 8, 1, 1), 8, 1, 8 * 8 * 36, 8 * 36),
        # So are, for the array, the other channels of a depthwise layer.
        (np.ones((8, 1, 1, 1)), 8, 8, 8 * 8 * 36, 8 * 36),
        # Taps without a weight are not there.
        (np.ones((8, 16, 3, 3)) * (np.arange(9).reshape(3, 3) == 4), 16, 1, 16 * 8 * 36, 16 * 8 * 36),
    ],
)
def test_what_the_array_issues(weight: np.ndarray, channels: int, groups: int, issued: int, useful: int) -> None:
    array, pad = load_array("z7020-256"), weight.shape[2] // 2
    graph = one_layer(conv(weight, groups, pad), QTensor("x", channels, 6, 6, 0), (6, 6))
    (layer,) = lower(graph, array, MEMORY)[1]
    done = array_macs(layer, array)
    assert (done.issued, done.useful) == (issued, useful)
    assert network_products(graph) == NetworkMacs(weight.size * 36, int(np.count_nonzero(weight)) * 36)


def test_shares_add_up_and_no_cycles_are_no_utilisation() -> None:
    parts = NetworkMacs(10, 7).dealt(4)
    assert sum(parts, NetworkMacs()) == NetworkMacs(10, 7) and len(parts) == 4
    assert utilisation(0, 0, 256) == 0
