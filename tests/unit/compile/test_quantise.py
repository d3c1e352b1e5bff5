"""Choosing scales, quantising weights, and what calibration refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.quantise.calibration import calibrate, macs_of
from proprune_cli.compile.quantise.exponents import choose_exponents, legalise, squared_error
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.compile.quantise.weights import quantise_conv
from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.ir.graph import Conv, Graph
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, EXPONENT_SPREAD, MULTIPLIER_LIMIT, PRODUCT_SPREAD, QConv
from proprune_cli.ir.window import Window
from tests.unit.compile.onnx_nets import conv_model, model, node, random


def canonical(*nodes: Any, **kwargs: Any) -> Graph:
    return canonicalise(import_onnx(model(*nodes, **kwargs)))


def conv(weight: NDArray[np.float64] | NDArray[np.float32], bias: NDArray[Any] | None = None) -> Conv:
    weight = weight.astype(np.float32)
    given = np.zeros(len(weight), np.float32) if bias is None else bias.astype(np.float32)
    return Conv("c", "x", "y", weight, given, Window.over(weight.shape[2:]))


def real_weights(layer: QConv, ex: int, ey: int) -> NDArray[np.float64]:
    return layer.weight * (layer.multiplier * 2.0 ** (ey - ex - 16))[:, None, None, None]


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3000),
    st.integers(-6, 4),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 300.0]),
)
def test_bounds_are_proven_and_scales_are_tight(
    seed: int, fan: int, rise: int, nonnegative: bool, offset: float
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((5, fan, 1, 1)) * np.exp2(rng.integers(-8, 1, (5, 1, 1, 1)))
    weight[2] = 0
    weight[3] = np.abs(weight[3])
    bias = rng.standard_normal(5) * offset
    ex, ey = -5, -5 + rise + 4
    done = quantise_conv(conv(weight, bias), bias, ex, ey, nonnegative=nonnegative)
    if done is None:
        return
    layer = done.layer
    codes = layer.weight.reshape(5, -1).astype(np.int64)
    multiplier = layer.multiplier.astype(np.int64)
    odd = np.asarray([int(m) // (int(m) & -int(m)) for m in multiplier])
    worst = np.where(codes > 0, 127, 127 if nonnegative else 128)
    low = 0 if nonnegative else 128
    top = np.where(codes > 0, codes * 127, -codes * low).sum(axis=1) + np.maximum(layer.bias, 0)
    bottom = np.where(codes > 0, codes * low, -codes * 127).sum(axis=1) + np.maximum(-layer.bias.astype(np.int64), 0)
    assert worst.shape == codes.shape
    assert (np.maximum(top, bottom) * odd < ACCUMULATOR_LIMIT).all() and done.exact_in_float
    assert (multiplier >= 1).all() and (multiplier < MULTIPLIER_LIMIT).all()
    # Every weight is within half a step of its code; clipped ones within half the range.
    step = multiplier * 2.0 ** (ey - ex - 16)
    error = np.abs(real_weights(layer, ex, ey) - weight.astype(np.float32)).reshape(5, -1).max(axis=1)
    peak = np.abs(weight).reshape(5, -1).max(axis=1)
    assert (error <= np.maximum(0.501 * step, 0.51 * peak)).all()
    assert (codes[2] == 0).all()
    np.testing.assert_allclose(layer.bias * step * 2.0**ex, bias, atol=float(0.5 * (step * 2.0**ex).max()) + 1e-6)


def test_a_multiplier_that_does_not_fit_asks_for_a_wider_output() -> None:
    assert (
        quantise_conv(conv(np.full((1, 2, 1, 1), 100.0) * [[[[1]], [[0.3]]]]), np.zeros(1), 0, 0, nonnegative=True)
        is None
    )


@pytest.mark.parametrize(
    ("kernel", "ex", "ey"), [((2, 2), -4, -4), ((7, 7), -4, -6), ((3, 3), -4, -4), ((8, 8), -4, -5)]
)
def test_average_pooling_is_precise(kernel: tuple[int, int], ex: int, ey: int) -> None:
    """Weights are one power of two; the multiplier carries 1/count, to a sixteenth of a code at full scale."""
    count = kernel[0] * kernel[1]
    done = quantise_conv(conv(np.full((3, 1, *kernel), 1 / count)), np.zeros(3), ex, ey, nonnegative=False)
    assert done is not None and done.exact_in_float
    code = int(done.layer.weight.flat[0])
    assert (done.layer.weight == code).all() and code in (1, 2, 4, 8, 16, 32, 64)
    wanted = 2.0 ** (ex - ey) / count
    got = code * int(done.layer.multiplier[0]) / 2**16
    assert abs(got / wanted - 1) <= (2.0**-13 if ex - ey < 2 and count in (4, 64) else 2.0**-11)


def test_a_scaling_layer_is_precise_in_slope_and_shift() -> None:
    """Standalone batch normalisation: one weight per channel."""
    rng = np.random.default_rng(0)
    slope, shift = rng.uniform(0.3, 3.0, 64), rng.uniform(-2, 2, 64)
    done = quantise_conv(conv(slope.reshape(64, 1, 1, 1)), shift, -5, -5, nonnegative=False)
    assert done is not None
    np.testing.assert_allclose(real_weights(done.layer, -5, -5).reshape(-1), slope, rtol=2**-10)
    step = done.layer.multiplier * 2.0 ** (-5 - 16)
    np.testing.assert_allclose(done.layer.bias * step, shift, atol=2.0**-5 / 20)


def test_exponents_minimise_the_squared_error() -> None:
    graph = canonical(node("Relu", ["x"], ["y"]), image=(1, 64, 64))
    x = np.random.default_rng(0).standard_normal((4, 1, 64, 64)).astype(np.float32)
    x[0, 0, 0, 0] = 40.0
    seen = calibrate(graph, x)
    chosen = choose_exponents(graph, seen)
    assert chosen["x"] == chosen["y"], "a ReLU keeps its input's scale"
    errors = {e: sum(squared_error(t.samples, e) for t in seen.tensors.values()) for e in range(-9, 2)}
    assert chosen["x"] == min(errors, key=errors.__getitem__) < -1, "one outlier does not set the scale"


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("power", [-4, 6])
def test_the_winning_scores_are_not_clipped_together(power: int, size: int) -> None:
    """The best two of 200 classes lie some codes beyond the range that least squares prefers."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-90, 90, (20, 200, size, size)).astype(np.float32)
    for image in x:
        for pixel in np.ndindex(size, size):
            image[(rng.permutation(200)[:2], *pixel)] = np.asarray([132.0, 130.0])
    x *= np.float32(2.0**power)
    weights = {"w": np.eye(200, dtype=np.float32).reshape(200, 200, 1, 1)}
    q, _ = quantise(canonical(node("Conv", ["x", "w"], ["y"]), weights=weights, image=(200, size, size)), x)
    codes = np.clip(np.rint(x / 2.0 ** q.tensors["y"].exponent), -128, 127)
    assert (codes.argmax(axis=1) == x.argmax(axis=1)).all()


def test_what_moves_codes_shares_one_scale() -> None:
    """Both ways through a concatenation, and on through pooling, selection, padding and upsampling."""
    graph = canonical(
        node("Conv", ["x", "w"], ["a"]),
        node("MaxPool", ["a"], ["m"], kernel_shape=[2, 2]),
        node("Conv", ["x", "v"], ["b"], kernel_shape=[2, 2]),
        node("Concat", ["m", "b"], ["c"], axis=1),
        node("Gather", ["c", "i"], ["g"], axis=1),
        node("Tanh", ["g"], ["y"]),
        weights={"w": random(2, 3, 1, 1) * 9, "v": random(2, 3, 2, 2), "i": np.asarray([3, 1], np.int64)},
    )
    q, _ = quantise(graph, random(4, 3, 6, 5))
    assert (
        len({q.tensors[name].exponent for name in "ambcg"}) == 1 and q.tensors["y"].exponent != q.tensors["a"].exponent
    )


def test_products_keep_their_shift_within_reach() -> None:
    graph = canonical(
        node("Sigmoid", ["x"], ["s"]),
        node("Conv", ["x", "w"], ["a"]),
        node("Mul", ["a", "s"], ["y"]),
        weights={"w": random(3, 3, 1, 1)},
    )
    for some in ({"a": -40, "s": -30, "y": 5}, {"a": 20, "s": 3, "y": -9}):
        exponents = legalise(graph, {"x": -5, **some}, {})
        assert abs(exponents["a"] + exponents["s"] - exponents["y"]) <= PRODUCT_SPREAD


def test_the_scale_before_an_activation_minds_what_comes_after_it() -> None:
    """Values beyond a clip's bound need no room."""
    graph = canonical(
        node("Conv", ["x", "w"], ["a"]),
        node("Clip", ["a", "low", "high"], ["y"]),
        weights={"w": random(3, 3, 1, 1) * 20, "low": np.asarray(0, np.float32), "high": np.asarray(6, np.float32)},
    )
    seen = calibrate(graph, random(8, 3, 6, 5))
    chosen = choose_exponents(graph, seen)
    assert chosen["y"] == -4 and chosen["a"] <= -3
    assert seen.tensors["a"].peak > 60


def test_additions_keep_their_exponents_within_reach() -> None:
    graph = canonical(
        node("Conv", ["x", "w"], ["a"]),
        node("Conv", ["x", "v"], ["b"]),
        node("Add", ["a", "b"], ["s"]),
        node("MaxPool", ["s"], ["y"], kernel_shape=[2, 2]),
        weights={"w": random(2, 3, 1, 1) * 1e6, "v": random(2, 3, 1, 1, seed=1) * 1e-6},
    )
    exponents = legalise(graph, {"x": -5, "a": 14, "b": -26, "s": 14, "y": 14}, {})
    assert exponents["s"] == exponents["y"] == 14 and exponents["b"] == 14 - EXPONENT_SPREAD
    q, report = quantise(graph, random(4, 3, 6, 5))
    assert abs(q.tensors["b"].exponent - q.tensors["s"].exponent) <= EXPONENT_SPREAD
    assert "b" in report.raised


def test_the_output_is_close_to_the_float_network() -> None:
    graph = canonical(
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "v"], ["b"]),
        node("GlobalAveragePool", ["b"], ["g"]),
        node("Flatten", ["g"], ["y"]),
        weights={"w": random(16, 3, 3, 3) * 0.2, "v": random(8, 16, 3, 3, seed=1) * 0.1},
        image=(3, 12, 12),
    )
    q, report = quantise(graph, random(32, 3, 12, 12))
    assert report.output_sqnr_db > 25 and report.exact_in_float and q.outputs[0].shape == (8,)
    assert [layer.channels for layer in report.layers] == [16, 8, 8]
    assert all(layer.weight_sqnr_db > 30 and layer.activation_sqnr_db > 25 for layer in report.layers)


def test_bias_correction_is_kept_only_when_it_helps() -> None:
    """A mean shift by rounded weights: inputs of one sign, weights that all round the same way."""
    weight = np.full((4, 16, 1, 1), 0.3, np.float32)
    weight[:, 0] = 127.0
    graph = canonical(
        node("Relu", ["x"], ["r"]), node("Conv", ["r", "w"], ["y"]), weights={"w": weight}, image=(16, 8, 8)
    )
    images = np.abs(random(16, 16, 8, 8)) + 4
    images[:, 0] *= 0.001
    q, report = quantise(graph, images)
    assert report.bias_correction
    layer = q.layers[-1]
    assert isinstance(layer, QConv) and np.abs(layer.bias).max() > 0
    exact = canonical(node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2]))
    assert not quantise(exact, random(4, 3, 6, 5))[1].bias_correction


def test_quantisation_is_repeatable() -> None:
    graph, x = canonicalise(import_onnx(conv_model())), random(8, 3, 6, 5)
    (first, _), (second, _) = quantise(graph, x), quantise(graph, x)
    assert first.tensors == second.tensors
    np.testing.assert_array_equal(first.layers[0].weight, second.layers[0].weight)  # type: ignore[union-attr]


def test_a_dead_network_quantises() -> None:
    graph = canonical(node("Conv", ["x", "w"], ["y"]), weights={"w": np.zeros((2, 3, 1, 1), np.float32)})
    q, report = quantise(graph, random(2, 3, 6, 5))
    assert isinstance(q.layers[0], QConv) and (q.layers[0].multiplier == 1).all()
    assert report.output_sqnr_db == float("inf")


REFUSED: dict[str, tuple[Any, str]] = {
    "empty": (np.zeros((0, 3, 6, 5), np.float32), "empty"),
    "transposed": (np.zeros((2, 6, 5, 3), np.float32), "[2, 6, 5, 3]"),
    "one image without its batch": (np.zeros((3, 6, 5), np.float32), "[3, 6, 5]"),
    "not finite": (np.full((1, 3, 6, 5), np.nan, np.float32), "90 NaN or infinite"),
    "too large for float32": (np.full((1, 3, 6, 5), 1e300), "90 NaN or infinite"),
    "absurd": (np.full((1, 3, 6, 5), 1e30, np.float32), "absurdly large"),
    "text": (np.full((1, 3, 6, 5), "a"), "not numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_calibration_images_that_do_not_do(case: str) -> None:
    images, reason = REFUSED[case]
    with pytest.raises(InputError) as caught:
        quantise(canonicalise(import_onnx(conv_model())), images)
    assert reason in caught.value.what and caught.value.where and caught.value.remedy


def test_large_calibration_sets_are_thinned_by_work() -> None:
    graph = canonical(node("Conv", ["x", "w"], ["y"]), weights={"w": random(64, 3, 6, 5)})
    assert macs_of(graph) == 64 * 90
    seen = calibrate(graph, random(40, 3, 6, 5))
    assert len(seen.images) == 40


def test_a_graph_that_is_not_canonical_is_refused() -> None:
    raw = import_onnx(model(node("GlobalAveragePool", ["x"], ["y"])))
    with pytest.raises(UnsupportedError, match="not in canonical form"):
        quantise(raw, random(2, 3, 6, 5))
