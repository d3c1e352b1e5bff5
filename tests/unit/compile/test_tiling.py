"""Tiling covers every output once, respects the buffers, and the model behind it behaves as hardware would."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings

from benchmarks.networks import network
from benchmarks.predicted import quantised
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.lower.engine_layer import EngineLayer, View
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.lower.layer_taps import build_taps
from proprune_cli.compile.lower.segments import loads_of
from proprune_cli.compile.lower.tile import Tiling, _build, _candidates, choose_tiling  # pyright: ignore[reportPrivateUsage]
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.plan import make_plan
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.quantized import QGraph, QTensor
from proprune_cli.ir.window import Window
from proprune_cli.work.macs import NetworkMacs
from tests.qnetworks import arrays, quantised_networks

MEMORY = Memory.planned(bandwidth_gb_s=1.4, latency_ns=300, clock_mhz=100)
ARRAY = load_array("z7020-256")


def conv(channels: int, size: int, kernel: int = 3) -> EngineLayer:
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 100, (channels, channels, kernel * kernel)).astype(np.int8)
    pad = kernel // 2
    return EngineLayer(
        "conv", "dense", View.of(QTensor("x", channels, size, size, -4)), "y", channels, (size, size),
        Window((kernel, kernel), pads=(pad, pad, pad, pad)), weight=weight, bias=np.zeros(channels, np.int32),
        multiplier=np.ones(channels, np.int32), asked=NetworkMacs.of_weight(weight.size, weight.size, size * size),
    )  # fmt: skip


def tile(layer: EngineLayer, array: Array = ARRAY, memory: Memory = MEMORY) -> Tiling:
    return choose_tiling(layer, build_taps(layer, array), array, memory)


@settings(max_examples=150, deadline=None)
@given(quantised_networks(), arrays())
def test_every_output_pixel_is_stored_exactly_once(network: tuple[QGraph, np.ndarray], array: Array) -> None:
    graph, _ = network
    for layer in fuse(graph).layers:
        try:
            steps = tile(layer, array).steps
        except DoesNotFitError:
            assume(False)
            raise
        stored = np.zeros(layer.size, dtype=np.int64)
        columns = (
            np.asarray(c) for c in (steps.oy0, steps.ox0, steps.tile_height, steps.tile_width, steps.emit_groups)
        )
        for oy, ox, height, width, groups in zip(*columns, strict=True):
            stored[oy : oy + height, ox : ox + width] += groups
        assert (stored == -(-layer.channels // 8)).all()
        assert (np.asarray(steps.beats) <= array.acc_depth).all()
        assert (np.asarray(steps.rows) * np.asarray(steps.cols) <= array.bank_depth).all()


@pytest.mark.parametrize(("channels", "size"), [(64, 56), (128, 28), (256, 14)])
def test_a_large_convolution_keeps_the_array_busy(channels: int, size: int) -> None:
    layer = conv(channels, size)
    tiling = tile(layer)
    assert layer.asked.dense / tiling.timing.cycles / ARRAY.macs_per_cycle > 0.97
    assert tiling.timing.bound == "compute"


def test_a_fully_connected_layer_is_bound_by_memory() -> None:
    layer = conv(1024, 1, kernel=1)
    timing = tile(layer).timing
    assert timing.bound == "memory"
    assert timing.cycles >= 1024 * 1024 / 8


def test_less_bandwidth_never_helps() -> None:
    layer = conv(64, 14)
    cycles = [tile(layer, memory=dataclasses.replace(MEMORY, bytes_per_cycle=b)).timing.cycles for b in (1, 4, 14)]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[-1]


def test_dropped_kernel_positions_cost_no_time() -> None:
    layer = conv(128, 28)
    assert layer.weight is not None
    sparse = layer.weight.copy()
    sparse[:, :, 1:] = 0
    dense, pruned = tile(layer).timing, tile(dataclasses.replace(layer, weight=sparse)).timing
    assert dense.iterations == 9 * pruned.iterations
    assert dense.cycles / pruned.cycles > 7


def test_a_kernel_row_wider_than_a_bank_does_not_fit() -> None:
    layer = EngineLayer("wide", "max", View.of(QTensor("x", 8, 1, 9000, 0)), "y", 8, (1, 1), Window((1, 9000)))
    with pytest.raises(DoesNotFitError, match="9000"):
        tile(layer)


@settings(max_examples=40, deadline=None)
@given(quantised_networks(), arrays())
def test_no_tiling_that_fits_beats_the_chosen_one(case: tuple[QGraph, np.ndarray], array: Array) -> None:
    """Every candidate in full, without the bound that rules most of them out; the second best is that of the plan."""
    for layer in fuse(case[0]).layers[:3]:
        taps = build_taps(layer, array)
        try:
            chosen = choose_tiling(layer, taps, array, MEMORY)
        except DoesNotFitError:
            assume(False)
            raise
        found: list[int] = []
        for size, plan in _candidates(layer, taps, array):
            loads = loads_of(plan.segments, taps, array, {})
            found.append(_build(layer, taps, size, plan.segments, loads, array, MEMORY).timing.cycles)
        found.sort()
        assert (chosen.timing.cycles, chosen.considered) == (found[0], len(found))
        assert chosen.behind is None or (len(found) > 1 and chosen.behind >= found[1] - found[0] >= 0)


def test_the_next_best_of_a_network_never_beats_the_chosen_tiling() -> None:
    graph, array = quantised(network("squeezenet-32")), load_array("z7020-256")
    program, layers = lower(graph, array, MEMORY)
    rows = make_plan(layers, program, estimate(program, array, MEMORY), array, NetworkMacs()).layers
    known = [row for row in rows if row.cycles_of_next_best_tiling is not None]
    assert len(known) > 3 and all((row.cycles_of_next_best_tiling or 0) >= row.cycles for row in known)
