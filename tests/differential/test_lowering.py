"""Integer reference = program interpreter = HLS C++ for random quantised networks on every array, byte for byte."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from onnx import TensorProto, helper

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.program import Program
from proprune_cli.accel.step_costs import Traffic
from proprune_cli.compile.pipeline import lower
from proprune_cli.errors import DoesNotFitError
from proprune_cli.ir.nodes import Add as Add
from proprune_cli.ir.nodes import Concat as Concat
from proprune_cli.ir.nodes import Host as Host
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, QConv, QConvTranspose, QGraph, QTensor
from proprune_cli.ir.window import Window
from proprune_cli.ops.reference import run_reference
from tests.executors import MEMORY, run_native
from tests.qnetworks import ARRAYS, arrays, quantised_networks
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


@pytest.mark.parametrize("array", ARRAYS)
def test_an_addition_joins_a_transposed_convolution_that_comes_after_its_other_operand(array: str) -> None:
    """Each phase takes the operand's pixels that it fills, as where a U-Net adds its skip connection."""
    rng = np.random.default_rng(0)
    sides = {"x": 9, "skip": 9, "narrow": 3, "wide": 9, "y": 9}
    tensors = {name: QTensor(name, 8, side, side, -4) for name, side in sides.items()}
    bias, multiplier = np.zeros(8, np.int32), np.full(8, 900, np.int32)
    k, w, v = (rng.integers(-20, 21, (8, 8, 3, 3)).astype(np.int8) for _ in range(3))
    layers = (
        QConv("c", "x", "skip", k, bias, multiplier, Window((3, 3), pads=(1, 1, 1, 1))),
        QConv("d", "skip", "narrow", v, bias, multiplier, Window.over(v.shape[2:], (3, 3))),
        QConvTranspose("t", "narrow", "wide", w, bias, multiplier, Window.over(w.shape[2:], (3, 3))),
        Add("a", "wide", "skip", "y"),
    )
    graph = QGraph("skip", tensors, layers, "x", (Output("y", "y", (8, 9, 9)),))
    program, lowered = lower(graph, load_array(array), MEMORY)
    assert sum(t.layer.residual is not None for t in lowered) == 9
    x = rng.integers(-128, 128, (8, 9, 9)).astype(np.int8)
    expected = run_reference(graph, x[None])["y"][0]
    assert len(np.unique(expected)) > 50
    for got in (interpret.run(program, x).outputs[0], run_native(program, x)[0][0]):
        np.testing.assert_array_equal(got, expected)


def check_waits(program: Program, array: Array) -> None:
    """Every step waits for the newest step that wrote a word it reads, whatever the words are."""
    for (_, step, _), distance in zip(steps_in_order(program), distances(program, array), strict=True):
        assert not distance or (int(step.depends) or isa.STEPS_IN_FLIGHT) <= distance


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
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
    expected = run_reference(graph, x[None])
    interpreted = interpret.run(program, x)
    native, counters = run_native(program, x)
    for output, mine, other in zip(graph.outputs, interpreted.outputs, native, strict=True):
        np.testing.assert_array_equal(mine, expected[output.tensor][0], err_msg=output.name)
        np.testing.assert_array_equal(other, mine, err_msg=output.name)
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


def test_a_tensor_read_again_after_the_host_does_not_stay_on_chip() -> None:
    """The engine's own memory is undefined when the engine starts again."""
    tensors = {name: QTensor(name, 8, 6, 6, -4) for name in ("x", "a", "h", "b", "c")} | {
        "y": QTensor("y", 16, 6, 6, -4)
    }
    rng = np.random.default_rng(3)
    k, w = (rng.integers(-20, 21, (8, 8, 3, 3)).astype(np.int8) for _ in range(2))
    bias, multiplier = np.zeros(8, np.int32), np.full(8, 900, np.int32)
    node = helper.make_node("LRN", ["x0"], ["y"], size=3, alpha=0.4)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 8, 6, 6]) for name in ("x0", "y")]
    body = helper.make_graph([node], "host", values[:1], values[1:])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    layers = (
        QConv("before", "x", "a", k, bias, multiplier, Window((3, 3), pads=(1, 1, 1, 1))),
        QConv("alone", "a", "b", w, bias, multiplier, Window((3, 3), pads=(1, 1, 1, 1))),
        Host("norm", ("b",), "h", model, ("LRN",), (8, 6, 6)),
        QConv("after", "h", "c", k, bias, multiplier, Window((3, 3), pads=(1, 1, 1, 1))),
        Concat("both", ("a", "c"), "y"),
    )
    graph = QGraph("again", tensors, layers, "x", (Output("y", "y", (16, 6, 6)),))
    program, _ = lower(graph, load_array("z7020-256"), MEMORY)
    x = rng.integers(-128, 128, (8, 6, 6)).astype(np.int8)
    expected = run_reference(graph, x[None])["y"][0]
    for got in (interpret.run(program, x).outputs[0], run_native(program, x)[0][0]):
        np.testing.assert_array_equal(got, expected)
