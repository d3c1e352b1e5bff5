"""A program for several images per start = one image after the other, byte for byte, in the interpreter and the C++."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks.networks import network
from benchmarks.predicted import quantised
from proprune_cli.accel import interpret
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.program import stack, to_codes, unstack
from proprune_cli.compile.pipeline import lower
from proprune_cli.errors import DoesNotFitError, UsageError
from proprune_cli.ir.quantized import QGraph
from proprune_cli.ops.reference import run_reference
from tests.differential.test_lowering import accumulators_bounded
from tests.executors import MEMORY, run_native
from tests.qnetworks import arrays, quantised_networks


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(quantised_networks(host=False), arrays(), st.integers(2, 5))
def test_a_batch_gives_what_its_images_give_alone(case: tuple[QGraph, np.ndarray], array: Array, count: int) -> None:
    graph, x = case
    assume(accumulators_bounded(graph))
    try:
        program, layers = lower(graph, array, MEMORY, count)
    except DoesNotFitError:
        assume(False)
        raise
    program = dataclasses.replace(program, digest=load_array(array.name).digest)
    images = np.stack([np.roll(x, n, axis=-1) ^ np.int8(n) for n in range(count)])
    assert program.image_shape == x.shape
    expected = run_reference(graph, images)
    interpreted = interpret.run(program, stack(images))
    native, _ = run_native(program, stack(images))
    for output, mine, other in zip(graph.outputs, interpreted.outputs, native, strict=True):
        np.testing.assert_array_equal(unstack(mine, count), expected[output.tensor], err_msg=output.name)
        np.testing.assert_array_equal(other, mine, err_msg=output.name)
    alone, single = lower(graph, array, MEMORY)
    assert sum(t.layer.macs for t in layers) == count * sum(t.layer.macs for t in single)
    assert alone.batch == 1 and [t.layer.twin for t in single] == [None] * len(single)


@pytest.mark.parametrize("name", ["lenet5-28", "vgg16-32", "mobilenetv2-32"])
def test_networks_agree_and_store_every_weight_once(name: str) -> None:
    chosen = network(name)
    graph, array, count = quantised(chosen), load_array("z7020-256"), 3
    single, _ = lower(graph, array, MEMORY)
    program, layers = lower(graph, array, MEMORY, count)
    codes = to_codes(chosen.images(count, seed=5), single.input.exponent)
    expected = np.stack([interpret.run(single, x).outputs[0] for x in codes])
    np.testing.assert_array_equal(unstack(interpret.run(program, stack(codes)).outputs[0], count), expected)
    np.testing.assert_array_equal(unstack(run_native(program, stack(codes))[0][0], count), expected)
    joint = [t.layer for t in layers if "@" not in t.layer.name]
    assert joint and all(layer.size[0] % count == 0 for layer in joint)
    # Tables grow with the layers; the weight streams, most of the image, do not.
    tables = 80 * program.layer_count + sum(8 * int(t.tiling.layer.step_count) for t in layers)
    assert len(program.image) < len(single.image) + tables


@pytest.mark.parametrize("count", [0, -1])
def test_a_batch_has_an_image(count: int) -> None:
    with pytest.raises(UsageError, match="holds none"):
        lower(quantised(network("lenet5-28")), load_array("z7020-256"), MEMORY, count)
