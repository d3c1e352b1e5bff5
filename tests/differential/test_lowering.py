"""Integer reference = program interpreter = HLS C++ for random quantised networks on every array, byte for byte."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import HealthCheck, assume, given, settings

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.program import Program
from proprune_cli.accel.timing import Traffic
from proprune_cli.compile.pipeline import lower
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, QConv, QConvTranspose, QGraph
from proprune_cli.ops.reference import run_reference
from tests.executors import MEMORY, run_native
from tests.qnetworks import arrays, quantised_networks
from tests.step_order import distances, steps_in_order


def _reduced(layer: QConv | QConvTranspose) -> tuple[int, ...]:
    return (1, 2, 3) if isinstance(layer, QConv) else (0, 2, 3)


def accumulators_bounded(graph: QGraph) -> bool:
    """The contract's promise, which random weights may break."""
    return all(
        128 * np.abs(c.weight.astype(np.int64)).sum(axis=_reduced(c)).max() + np.abs(c.bias).max() < ACCUMULATOR_LIMIT
        for c in graph.layers
        if isinstance(c, QConv | QConvTranspose)
    )


def check_waits(program: Program, array: Array) -> None:
    """Every step waits for the newest step that wrote a word it reads, whatever the words are."""
    for (_, step, _), distance in zip(steps_in_order(program), distances(program, array), strict=True):
        assert not distance or (int(step.depends) or isa.STEPS_IN_FLIGHT) <= distance


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(quantised_networks(), arrays())
def test_three_executors_agree(network: tuple[QGraph, np.ndarray], array: Array) -> None:
    graph, x = network
    assume(accumulators_bounded(graph))
    try:
        program, _ = lower(graph, array, MEMORY)
    except DoesNotFitError:
        assume(False)
        raise
    # Tighter buffers than the build's are still within its contract.
    program = dataclasses.replace(program, digest=load_array(array.name).digest)
    check_waits(program, array)
    expected = run_reference(graph, x[None])[graph.output][0]
    interpreted = interpret.run(program, x)
    np.testing.assert_array_equal(interpreted.output, expected.reshape(interpreted.output.shape))
    native, counters = run_native(program, x)
    np.testing.assert_array_equal(native, interpreted.output)
    for name in isa.LayerCounters.layout():
        np.testing.assert_array_equal(getattr(counters, name), getattr(interpreted.counters, name), err_msg=name)
    layers = program.layers()
    for i in range(program.layer_count):
        layer = layers.row(i)
        nowhere = np.zeros(int(layer.step_count), dtype=np.int64)  # where tensors lie is no part of the counters
        traffic = Traffic.of(layer, program.steps(layer), on_chip_groups=nowhere)
        modelled = [int(t.sum()) for t in (traffic.fetch, traffic.weights, traffic.residual, traffic.store)]
        names = ("fetch_words", "weight_words", "residual_words", "store_words")
        assert modelled == [int(np.asarray(getattr(counters, n))[i]) for n in names]
