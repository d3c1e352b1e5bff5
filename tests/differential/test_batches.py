"""A program for several images per start = one image after the other, byte for byte, in the interpreter and the C++."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks.networks import network
from benchmarks.predicted import quantised
from proprune_cli.accel import interpret
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.program import Program, stack, unstack
from proprune_cli.accel.segments import segments
from proprune_cli.artifact.package import load_artifact
from proprune_cli.board.registry import open_executor
from proprune_cli.compile.options import CompileOptions
from proprune_cli.compile.pipeline import lower
from proprune_cli.errors import DoesNotFitError, InputError, UsageError
from proprune_cli.flow.build import build
from proprune_cli.flow.execute import run_codes
from proprune_cli.ir.quantized import QGraph
from proprune_cli.ops.reference import run_reference
from tests.differential.test_lowering import accumulators_bounded, check_waits
from tests.executors import MEMORY, run_native
from tests.qnetworks import arrays, quantised_networks
from tests.unit.compile.onnx_nets import model, node, random


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(quantised_networks(), arrays(), st.integers(2, 5))
def test_a_batch_gives_what_its_images_give_alone(case: tuple[QGraph, np.ndarray], array: Array, count: int) -> None:
    graph, x = case
    assume(accumulators_bounded(graph))
    try:
        alone, single = lower(graph, array, MEMORY)
    except DoesNotFitError:
        assume(False)
        raise
    # What fits alone fits in a batch.
    program, layers = lower(graph, array, MEMORY, count)
    program = dataclasses.replace(program, digest=load_array(array.name).digest)
    check_waits(program, array)
    images = np.stack([np.roll(x, n, axis=-1) ^ np.int8(n) for n in range(count)])
    assert program.image_shape == x.shape
    expected = run_reference(graph, images)
    interpreted = interpret.run(program, stack(images))
    native, _ = run_native(program, stack(images))
    for output, mine, other in zip(graph.outputs, interpreted.outputs, native, strict=True):
        np.testing.assert_array_equal(unstack(mine, count), expected[output.tensor], err_msg=output.name)
        np.testing.assert_array_equal(other, mine, err_msg=output.name)
    assert sum(t.work.macs for t in layers) == count * sum(t.work.macs for t in single)
    assert alone.batch == 1 and [t.layer.twin for t in single] == [None] * len(single)


@pytest.mark.parametrize("name", ["lenet5-28", "vgg16-32", "mobilenetv2-32"])
def test_networks_agree_and_share_their_weights(name: str) -> None:
    chosen = network(name)
    graph, array, count = quantised(chosen), load_array("z7020-256"), 3
    single, _ = lower(graph, array, MEMORY)
    program, layers = lower(graph, array, MEMORY, count)
    codes = single.codes(chosen.images(count, seed=5))
    expected = np.stack([interpret.run(single, x).outputs[0] for x in codes])
    np.testing.assert_array_equal(unstack(interpret.run(program, stack(codes)).outputs[0], count), expected)
    np.testing.assert_array_equal(unstack(run_native(program, stack(codes))[0][0], count), expected)
    joint = [t.layer for t in layers if "@" not in t.layer.name]
    assert joint and all(layer.size[0] % count == 0 for layer in joint)
    # Streams of twins are stored once; tables and the rows of kernels on small maps take less than the weights do.
    assert len(program.image) < len(single.image) * 2


def nhwc_model() -> onnx.ModelProto:
    """As from TensorFlow: channels last, with host steps between layers, one that joins two, and one at the end."""
    weights = {"w": random(9, 3, 3, 3), "v": random(9, 9, 1, 1), "d": random(9 * 4 * 4, 6), "b": random(6)}
    weights |= {"size": np.asarray([1, 9, 4, 4], np.int64), "flat": np.asarray([-1, 9 * 4 * 4], np.int64)}
    return model(
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("LRN", ["c"], ["l"], size=3),
        node("Resize", ["l", "", "", "size"], ["r"], mode="cubic"),
        node("Conv", ["r", "v"], ["e"]),
        node("Softmax", ["e"], ["s"], axis=1),
        node("Max", ["s", "r"], ["m"]),
        node("Relu", ["m"], ["f"]),
        node("Transpose", ["f"], ["u"], perm=[0, 2, 3, 1]),
        node("Reshape", ["u", "flat"], ["g"]),
        node("MatMul", ["g", "d"], ["h"]),
        node("Add", ["h", "b"], ["z"]),
        node("Softmax", ["z"], ["y"], axis=1),
        weights=weights, image=(14, 11, 3),
    )  # fmt: skip


@pytest.mark.parametrize("count", [2, 5])
def test_a_batch_with_host_steps_gives_what_single_images_give_at_every_place(count: int, tmp_path: Path) -> None:
    source, images = tmp_path / "net.onnx", random(7, 14, 11, 3)
    onnx.save(nhwc_model(), source)
    np.save(tmp_path / "images.npy", images)
    single, together = (
        build(source, CompileOptions(calibration=str(tmp_path / "images.npy"), batch=n)) for n in (1, count)
    )
    steps = {name for step in together.program.host_steps for name in step.operators}
    assert {"Transpose", "LRN", "Resize", "Softmax", "Max"} <= steps and together.host is not None
    # The engine stops as often as for one image, however many there are.
    assert len(segments(together.program)) == len(segments(single.program))
    together.save(tmp_path / "net.ppr")
    together = load_artifact(tmp_path / "net.ppr")
    codes = single.program.codes(images)
    np.testing.assert_array_equal(codes, together.program.codes(images))
    wanted = run_codes(open_executor(single, "interpreter", "net.ppr"), codes, 1)
    for place in ("interpreter", "emulated:pynq-z2", "cpu"):
        got = run_codes(open_executor(together, place, "net.ppr"), codes, count)
        for mine, other in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(mine, other, err_msg=place)
    first, *others = together.program.host_steps
    odd = dataclasses.replace(first.output, height=first.output.height - 1)
    steps_of_odd_rows = (dataclasses.replace(first, output=odd), *others)
    broken = dataclasses.replace(together.program, host_steps=steps_of_odd_rows)
    dataclasses.replace(together, program=broken).save(tmp_path / "broken.ppr")
    with pytest.raises(InputError, match=f"do not hold {count} images"):
        load_artifact(tmp_path / "broken.ppr")


@pytest.mark.parametrize("count", [0, -1])
def test_a_batch_has_an_image(count: int) -> None:
    with pytest.raises(UsageError, match="holds none"):
        lower(quantised(network("lenet5-28")), load_array("z7020-256"), MEMORY, count)


def test_a_fully_connected_layer_reads_its_weights_once_for_all_images() -> None:
    graph, array = quantised(network("lenet5-28")), load_array("z7020-256")
    single, alone = lower(graph, array, MEMORY)
    program, layers = lower(graph, array, MEMORY, 8)

    def weight_words(p: Program, number: int) -> int:
        return int(np.sum(p.steps(p.layers().row(number)).weight_words))

    connected = [n for n, t in enumerate(alone) if t.layer.size == (1, 1)]
    together = [n for n, t in enumerate(layers) if t.layer.size == (8, 1)]
    assert [layers[n].layer.name for n in together] == [alone[n].layer.name for n in connected]
    for mine, one in zip(together, connected, strict=True):
        # Other tiles may cut the stream into other parts, each with its own headers.
        assert 0 < weight_words(program, mine) < 1.05 * weight_words(single, one)
    # The others repeat one stream.
    twins = [n for n, t in enumerate(layers) if t.layer.twin is not None]
    assert len(twins) == 7 * sum(t.layer.name.endswith("@0") for t in layers) > 0
    for n in twins:
        first = layers[n].layer.twin
        assert first is not None
        both = (program.steps(program.layers().row(number)).weights for number in (n, first))
        np.testing.assert_array_equal(*both)


def test_a_padded_convolution_of_a_small_map_reads_each_row_of_its_kernel_where_it_counts() -> None:
    graph, array = quantised(network("vgg16-32")), load_array("z7020-256")
    _, layers = lower(graph, array, MEMORY, 8)
    rows = [t.layer for t in layers if t.layer.size == (8, 2) and t.layer.window.kernel != (1, 1)]
    # 3 × 3 with a padding of 1 on 2 × 2 pixels: the upper row needs the kernel's lower two, the lower its upper two.
    assert rows and all(layer.window.kernel == (2, 3) and layer.phase and layer.phase.step == (2, 1) for layer in rows)
    assert {layer.phase.first for layer in rows if layer.phase} == {(0, 0), (1, 0)}
