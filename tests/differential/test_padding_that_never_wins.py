"""Padding with minus infinity, or what people write for it, before a max pooling; and where it cannot be meant."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.calibration import calibrate, open_session, run_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import InputError, UnsupportedError
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random

LEAST = float(np.finfo(np.float32).min)
NEVER = [-1e4, -65504.0, -1e9, LEAST, -np.inf]


def network(value: float, size: int, *readers: onnx.NodeProto, pads: tuple[int, ...] = (1, 2, 1, 0)) -> onnx.ModelProto:
    """A convolution, a padding of its result, and who reads that."""
    top, left, bottom, right = pads
    weights = {
        "w": random(5, 3, 3, 3),
        "w2": random(4, 5, 3, 3),
        "p": np.asarray([0, 0, top, left, 0, 0, bottom, right], np.int64),
        "v": np.asarray(value, np.float32),
    }
    first = (node("Conv", ["x", "w"], ["c"]), node("Pad", ["c", "p", "v"], ["padded"], name="border"))
    return model(*first, *readers, weights=weights, image=(3, size, size + 3))


def images(size: int, magnitude: float) -> np.ndarray:
    return (magnitude * np.random.default_rng(0).normal(size=(6, 3, size, size + 3))).astype(np.float32)


@pytest.mark.parametrize("value", NEVER)
@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 100.0])
def test_a_max_pooling_takes_it_over(value: float, magnitude: float) -> None:
    readers = (node("MaxPool", ["padded"], ["m"], kernel_shape=[3, 3], strides=[2, 2]), node("Relu", ["m"], ["y"]))
    for size in (6, 13):
        source, x = network(value, size, *readers), images(size, magnitude)
        graph = canonicalise(import_onnx(source))
        assert [type(n).__name__ for n in graph.nodes].count("Pad") == 0
        (wanted,) = run_session(open_session(source.SerializeToString(), optimise=False), None, {"x": x})
        np.testing.assert_allclose(calibrate(graph, x).outputs[0], wanted, rtol=1e-4, atol=1e-4 * magnitude)
        quantised, report = quantise(graph, x)
        assert report.output_sqnr_db > 25
        program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
        assert set(differing_bytes(quantised, program, x).values()) == {0}


def test_one_that_may_win_stays() -> None:
    source = network(-0.5, 8, node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3]))
    assert "Pad" in [type(n).__name__ for n in canonicalise(import_onnx(source)).nodes]
    _, report = quantise(canonicalise(import_onnx(source)), images(8, 1.0))
    assert report.output_sqnr_db > 25


@pytest.mark.parametrize("value", [*NEVER, 1e4, np.inf])
@pytest.mark.parametrize("reader", ["Conv", "MaxPool of the padding alone"])
def test_elsewhere_it_is_refused_by_name(value: float, reader: str) -> None:
    if reader == "Conv":
        source = network(value, 8, node("Conv", ["padded", "w2"], ["y"]))
    else:
        pool = node("MaxPool", ["padded"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
        source = network(value, 8, pool, pads=(3, 3, 3, 3))
    with pytest.raises(UnsupportedError, match="'border' pads with") as caught:
        quantise(canonicalise(import_onnx(source)), images(8, 1.0))
    assert "border" in caught.value.where and caught.value.remedy


def test_not_a_number_is_no_padding() -> None:
    with pytest.raises(InputError, match="NaN"):
        import_onnx(network(np.nan, 8, node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3])))


def test_bounds_without_an_end_bound_nothing() -> None:
    x = images(8, 1.0)
    for low in (-np.inf, 0.0):
        source = model(
            node("Conv", ["x", "w"], ["c"]),
            node("Clip", ["c", "low", "high"], ["y"]),
            weights={
                "w": random(5, 3, 3, 3),
                "low": np.asarray(low, np.float32),
                "high": np.asarray(np.inf, np.float32),
            },
            image=(3, 8, 11),
        )
        graph = canonicalise(import_onnx(source))
        assert len(graph.nodes) == 1 and graph.nodes[0].clamped is (low == 0)
        assert quantise(graph, x)[1].output_sqnr_db > 25
