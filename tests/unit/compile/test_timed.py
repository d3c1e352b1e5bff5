"""A network timed without its program costs what its program does, to the cycle, the byte and the product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings

from benchmarks.networks import network
from benchmarks.predicted import quantised
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.timed import timed
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.quantized import QGraph
from tests.qnetworks import arrays, quantised_networks

MEMORY = Memory.planned(bandwidth_gb_s=1.4, latency_ns=300, clock_mhz=100)


def agrees(graph: QGraph, array: Array, batch: int) -> None:
    program, layers = lower(graph, array, MEMORY, batch)
    found = timed(graph, array, MEMORY, batch)
    assert found.timing == estimate(program, array, MEMORY)
    assert found.macs == tuple(array_macs(layer, array) for layer in layers)


@settings(max_examples=60, deadline=None)
@given(quantised_networks(), arrays())
def test_random_networks(case: tuple[QGraph, np.ndarray], array: Array) -> None:
    for batch in (1, 3):
        try:
            agrees(case[0], array, batch)
        except DoesNotFitError:
            assume(False)


@pytest.mark.parametrize("name", ["resnet8-32", "squeezenet-32"])
@pytest.mark.parametrize("batch", [1, 4])
def test_networks_of_the_zoo(name: str, batch: int) -> None:
    agrees(quantised(network(name)), load_array("z7020-256"), batch)


def test_tilings_that_are_known_change_nothing() -> None:
    graph, array, known = quantised(network("resnet8-32")), load_array("z7020-256"), {}
    first = timed(graph, array, MEMORY, 1, known)
    assert known and timed(graph, array, MEMORY, 1, known).timing == first.timing
