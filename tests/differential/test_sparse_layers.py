"""Layers that lack weights in a pattern run on every executor byte for byte, whatever their lanes read."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.program import Program, stack, unstack
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import DoesNotFitError, InputError, ProPruneError
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer, QTensor
from proprune_cli.ir.window import Window
from proprune_cli.ops.reference import run_reference
from tests.differential.test_lowering import accumulators_bounded
from tests.executors import MEMORY, differing_bytes, run_native, run_onnxruntime
from tests.qnetworks import arrays, quantised_networks
from tests.unit.compile.onnx_nets import model, node, random

PATTERNS = ("guided", "one of a kernel", "few", "columns")


def masked(weight: np.ndarray, pattern: str, rng: np.random.Generator) -> np.ndarray:
    """``weight`` [out, in, kernel_h, kernel_w] with the weights that ``pattern`` takes set to 0."""
    out, channels, height, width = weight.shape
    number = np.arange(height * width).reshape(height, width)
    if pattern == "guided":
        keep = (number == np.arange(channels)[:, None, None] % (height * width))[None]
    elif pattern == "one of a kernel":
        keep = number == rng.integers(0, height * width, (out, channels, 1, 1))
    elif pattern == "few":
        keep = rng.random(weight.shape) < 0.03
    else:
        keep = rng.random((1, channels, 1, width)) < 0.4
    return np.where(keep, weight, np.int8(0)).astype(np.int8)


def assert_executors_agree(graph: QGraph, program: Program, x: np.ndarray) -> None:
    """The interpreter and the C++ engine give what the reference says, for every output."""
    expected, native = run_reference(graph, x[None]), run_native(program, x)[0]
    for output, mine, other in zip(graph.outputs, interpret.run(program, x).outputs, native, strict=True):
        np.testing.assert_array_equal(mine, expected[output.tensor][0].reshape(mine.shape))
        np.testing.assert_array_equal(other, mine)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(quantised_networks(), arrays(), st.sampled_from(PATTERNS), st.integers(0, 2**32 - 1))
def test_executors_agree_on_layers_with_missing_weights(
    network: tuple[QGraph, np.ndarray], array: Array, pattern: str, seed: int
) -> None:
    graph, x = network
    assume(accumulators_bounded(graph) and any(isinstance(layer, QConv) for layer in graph.layers))
    rng = np.random.default_rng(seed)

    def sparse(layer: QLayer) -> QLayer:
        if isinstance(layer, QConv | QConvTranspose):
            return dataclasses.replace(layer, weight=masked(layer.weight, pattern, rng))
        return layer

    graph = dataclasses.replace(graph, layers=tuple(sparse(layer) for layer in graph.layers))
    try:
        program, _ = lower(graph, array, MEMORY)
    except DoesNotFitError:
        assume(False)
        raise
    program = dataclasses.replace(program, digest=load_array(array.name).digest)
    assert_executors_agree(graph, program, x)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    quantised_networks(), arrays(), st.sampled_from((*PATTERNS, "all")), st.integers(0, 6), st.integers(0, 2**32 - 1)
)
def test_executors_agree_on_weights_of_one_bit(
    network: tuple[QGraph, np.ndarray], array: Array, pattern: str, power: int, seed: int
) -> None:
    graph, x = network
    assume(any(isinstance(layer, QConv) for layer in graph.layers))
    rng = np.random.default_rng(seed)

    def binary(layer: QLayer) -> QLayer:
        if isinstance(layer, QConv | QConvTranspose):
            weight = np.where(rng.random(layer.weight.shape) < 0.5, -(1 << power), 1 << power).astype(np.int8)
            return dataclasses.replace(layer, weight=weight if pattern == "all" else masked(weight, pattern, rng))
        return layer

    graph = dataclasses.replace(graph, layers=tuple(binary(layer) for layer in graph.layers))
    assume(accumulators_bounded(graph))
    try:
        program, _ = lower(graph, array, MEMORY)
    except DoesNotFitError:
        assume(False)
        raise
    program = dataclasses.replace(program, digest=load_array(array.name).digest)
    assert_executors_agree(graph, program, x)


@pytest.mark.parametrize("array", ["z7020-256", "z7020-384", "zu-1024"])
@pytest.mark.parametrize("guided", [False, True], ids=["dense", "guided"])
def test_weights_of_one_bit_stay_so_in_the_program(array: str, guided: bool) -> None:
    graph, layer = convolution(72, 40, (3, 3), 12)
    rng = np.random.default_rng(0)
    signs = np.where(rng.random(layer.weight.shape) < 0.5, -1, 1).astype(np.int8)
    signs = masked(signs, "guided", rng) if guided else signs
    # Magnitudes that the same multipliers would carry otherwise.
    graphs = [
        dataclasses.replace(graph, layers=(dataclasses.replace(layer, weight=weight),)) for weight in (signs, signs * 3)
    ]
    built = load_array(array)
    (program, (one,)), (_, (eight,)) = (lower(g, built, MEMORY) for g in graphs)
    assert all(unit.binary.sum() == unit.keep.sum() for row in one.taps.units for unit in row)
    assert not any(unit.binary.any() for row in eight.taps.units for unit in row)
    words = [int(np.asarray(t.tiling.steps.weight_words)[0]) for t in (one, eight)]
    taps = int(one.taps.kept.sum())
    saved = taps * (built.tap_words - built.binary_tap_words)
    assert len(one.tiling.segments) > 1 or len(eight.tiling.segments) > 1 or words[1] - words[0] == saved
    images = np.random.default_rng(1).normal(size=(2, 72, 12, 12)).astype(np.float32)
    assert differing_bytes(graphs[0], program, images) == dict.fromkeys(
        ["HLS C++", "ONNX Runtime, optimised", "ONNX Runtime, as written"], 0
    )


def test_a_layer_that_waits_for_its_weights_gets_faster_with_one_bit() -> None:
    graph, layer = convolution(512, 256, (1, 1), 1)
    signs = np.where(layer.weight < 0, -1, 1).astype(np.int8)
    cycles, traffic = [], []
    for weight in (layer.weight, signs):
        one = dataclasses.replace(graph, layers=(dataclasses.replace(layer, weight=weight),))
        timing = lower(one, load_array("z7020-256"), MEMORY)[1][0].tiling.timing
        cycles.append(timing.cycles)
        traffic.append(timing.ddr_bytes)
    assert cycles[0] > 1.9 * cycles[1] and traffic[0] > 4.9 * traffic[1]


def convolution(
    channels: int, out: int, kernel: tuple[int, int], size: int, stride: int = 1, dilation: int = 1
) -> tuple[QGraph, QConv]:
    rng = np.random.default_rng(channels + out)
    pads = tuple((k - 1) * dilation // 2 for k in (*kernel, *kernel))
    layer = QConv(
        "conv", "x", "y", rng.integers(-127, 128, (out, channels, *kernel)).astype(np.int8),
        rng.integers(-500, 500, out).astype(np.int32), rng.integers(200, 900, out).astype(np.int32),
        Window(kernel, (stride, stride), (pads[0], pads[1], pads[2], pads[3]), (dilation, dilation)),
    )  # fmt: skip
    reach = [(k - 1) * dilation + 1 for k in kernel]
    height, width = ((size + 2 * p - r) // stride + 1 for p, r in zip(pads, reach, strict=False))
    tensors = {"x": QTensor("x", channels, size, size, -5), "y": QTensor("y", out, height, width, -5)}
    return QGraph("net", tensors, (layer,), "x", (Output("y", "y", (out, height, width)),)), layer


@pytest.mark.parametrize("array", ["z7020-256", "z7020-384", "zu-1024"])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "dilation"),
    [
        (64, (3, 3), 1, 1),
        (64, (3, 3), 2, 1),
        (40, (5, 5), 1, 1),
        (72, (3, 3), 1, 2),
        (20, (1, 7), 2, 1),
        (3, (7, 7), 2, 1),
    ],
)
def test_a_guided_layer_takes_one_tap_per_chunk(
    array: str, channels: int, kernel: tuple[int, int], stride: int, dilation: int
) -> None:
    graph, layer = convolution(channels, 24, kernel, 20, stride, dilation)
    guided = dataclasses.replace(layer, weight=masked(layer.weight, "guided", np.random.default_rng(0)))
    sparse = dataclasses.replace(graph, layers=(guided,))
    built = load_array(array)
    program, (tiled,) = lower(sparse, built, MEMORY)
    assert tiled.taps.kept.max() == 1
    images = np.random.default_rng(1).normal(size=(2, channels, 20, 20)).astype(np.float32)
    assert differing_bytes(sparse, program, images) == dict.fromkeys(
        ["HLS C++", "ONNX Runtime, optimised", "ONNX Runtime, as written"], 0
    )


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([1, 2, 3, 4, 8, 16]), st.sampled_from([1, 2, 3, 8, 12, 24]), st.sampled_from([1, 2, 5, 8, 24]),
    st.sampled_from([(1, 1), (3, 3), (5, 5), (1, 7), (2, 3)]), st.sampled_from([0.0, 0.005, 0.02, 0.1, 0.4]), arrays(),
    st.integers(1, 3), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_groups_with_scattered_weights(
    groups: int, per_group: int, filters: int, kernel: tuple[int, int], density: float, array: Array, count: int,
    seed: int,
) -> None:  # fmt: skip
    """Blocks of filters that read nothing of a chunk, which a step may hold alone, still start from their biases."""
    rng = np.random.default_rng(seed)
    graph, layer = convolution(groups * per_group, groups * filters, kernel, 7)
    weight = np.where(rng.random(layer.weight.shape) < density, layer.weight, np.int8(0))[:, :per_group]
    layer = dataclasses.replace(layer, weight=weight.astype(np.int8), groups=groups)
    graph = dataclasses.replace(graph, layers=(layer,))
    try:
        program, _ = lower(graph, array, MEMORY, count)
    except DoesNotFitError as error:
        assert "lane patterns" in str(error) or "spans" in str(error), error
        assume(False)
        raise
    program = dataclasses.replace(program, digest=load_array(array.name).digest)
    reals = rng.normal(size=(count, groups * per_group, 7, 7)).astype(np.float32)
    images = program.codes(reals)
    mine = interpret.run(program, stack(images)).outputs[0]
    np.testing.assert_array_equal(unstack(mine, count), run_reference(graph, images)["y"])
    np.testing.assert_array_equal(run_native(program, stack(images))[0][0], mine)
    for optimise in (False, True):
        onnxruntime = run_onnxruntime(graph, reals, optimise=optimise)
        np.testing.assert_array_equal(onnxruntime, unstack(mine, count).reshape(count, -1))


def test_a_guided_layer_is_seven_times_faster_than_a_dense_one() -> None:
    graph, layer = convolution(64, 64, (3, 3), 56)
    guided = dataclasses.replace(layer, weight=masked(layer.weight, "guided", np.random.default_rng(0)))
    array = load_array("z7020-256")
    cycles = [
        lower(dataclasses.replace(graph, layers=(one,)), array, MEMORY)[1][0].tiling.timing.cycles
        for one in (layer, guided)
    ]
    assert cycles[0] >= 7 * cycles[1]


def test_a_power_that_no_code_has_is_refused() -> None:
    graph, layer = convolution(16, 8, (1, 1), 4)
    signs = np.where(layer.weight < 0, -1, 1).astype(np.int8)
    array = load_array("z7020-256")
    program, _ = lower(dataclasses.replace(graph, layers=(dataclasses.replace(layer, weight=signs),)), array, MEMORY)
    step = program.steps(program.layers().row(0)).row(0)
    at = int(step.weights) + array.block_words
    tap = isa.TapHeader.decode(program.image[at : at + 1]).row(0)
    assert int(tap.binary) == 1
    image = program.image.copy()
    image[at] = dataclasses.replace(tap, shift=7).encode()[0, 0]
    broken = dataclasses.replace(program, image=image)
    x = np.zeros((16, 4, 4), dtype=np.int8)
    with pytest.raises(InputError, match=r"2\^7"):
        interpret.run(broken, x)
    with pytest.raises(ProPruneError):
        run_native(broken, x)


@pytest.mark.parametrize("dead", [slice(0, 8), slice(8, 16), slice(3, 16), slice(0, 16)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("array", ["z7020-256", "zu-1024"])
def test_a_stretched_operand_with_dead_filters_is_added_everywhere(dead: slice, batch: int, array: str) -> None:
    """Groups of channels that a branch leaves alone are the other operand's only where both have the same pixels."""
    weight = random(16, 16, 1, 1)
    weight[dead] = 0
    source = model(
        node("Conv", ["x", "w"], ["a"]),
        node("GlobalAveragePool", ["a"], ["m"]),
        node("Conv", ["m", "v"], ["b"]),
        node("Add", ["b", "a"], ["y"]),
        weights={"w": random(16, 3, 1, 1, seed=2), "v": weight},
        image=(3, 6, 5),
    )
    images = random(3, 3, 6, 5, seed=3)
    graph, _ = quantise(canonicalise(import_onnx(source)), images)
    single, _ = lower(graph, load_array(array), MEMORY)
    assert not any(differing_bytes(graph, single, images).values())
    program, _ = lower(graph, load_array(array), MEMORY, batch)
    codes = single.codes(images[:batch])
    alone = np.stack([interpret.run(single, x).outputs[0] for x in codes])
    np.testing.assert_array_equal(unstack(interpret.run(program, stack(codes)).outputs[0], batch), alone)
