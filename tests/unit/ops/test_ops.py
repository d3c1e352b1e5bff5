"""Integer references against plain loops over Python integers, and the registry's own promises."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from proprune_cli.errors import InputError
from proprune_cli.ir.nodes import Add, MaxPool, Mul, Relu, Select, Upsample
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QPad, QTable, QTensor
from proprune_cli.ir.window import Window
from proprune_cli.ops import page
from proprune_cli.ops.arithmetic import add_reference, mul_reference
from proprune_cli.ops.conv import conv_reference
from proprune_cli.ops.conv_transpose import by_channel, by_filter, conv_transpose_reference
from proprune_cli.ops.functions import table_reference
from proprune_cli.ops.importing import rule_of
from proprune_cli.ops.pad import pad_reference
from proprune_cli.ops.pool import max_pool_reference
from proprune_cli.ops.reference import run_reference
from proprune_cli.ops.registry import BY_NAME, OPERATORS
from proprune_cli.ops.resize import upsample_reference
from proprune_cli.ops.rounding import shift_half_even
from proprune_cli.ops.select import select_reference
from proprune_cli.pages import stale

ROOT = Path(__file__).parents[3]


def clip(value: int) -> int:
    return max(-128, min(127, value))


@given(st.integers(-(2**50), 2**50), st.integers(1, 20))
def test_rounding_is_pythons_half_even(value: int, shift: int) -> None:
    assert int(shift_half_even(np.asarray(value, np.int64), shift)) == round(Fraction(value, 1 << shift))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[QConv, NDArray[np.int8]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    size = [draw(st.integers(max(1, d * (k - 1) + 1), 7)) for k, d in zip(kernel, dilation, strict=True)]
    layer = QConv(
        "c",
        "x",
        "y",
        rng.integers(-127, 128, (filters, channels // groups, *kernel)).astype(np.int8),
        rng.integers(-(2**20), 2**20, filters).astype(np.int32),
        rng.integers(1, 2**10, filters).astype(np.int32),
        Window(
            kernel,
            (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
            (pads[0], pads[1], pads[2], pads[3]),
            dilation,
        ),
        groups,
        relu=draw(st.booleans()),
    )
    return layer, rng.integers(-128, 128, (channels, *size)).astype(np.int8)


def slow_conv(layer: QConv, x: NDArray[np.int8]) -> NDArray[np.int8]:
    filters, per_group, kh, kw = layer.weight.shape
    _, height, width = x.shape
    top, left, bottom, right = layer.window.pads
    out_h = (height + top + bottom - layer.window.dilation[0] * (kh - 1) - 1) // layer.window.stride[0] + 1
    out_w = (width + left + right - layer.window.dilation[1] * (kw - 1) - 1) // layer.window.stride[1] + 1
    y = np.zeros((filters, out_h, out_w), np.int8)
    for o in range(filters):
        first = o // (filters // layer.groups) * per_group
        for r in range(out_h):
            for c in range(out_w):
                total = int(layer.bias[o])
                for i in range(per_group):
                    for u in range(kh):
                        for v in range(kw):
                            row = r * layer.window.stride[0] + u * layer.window.dilation[0] - top
                            column = c * layer.window.stride[1] + v * layer.window.dilation[1] - left
                            if 0 <= row < height and 0 <= column < width:
                                total += int(layer.weight[o, i, u, v]) * int(x[first + i, row, column])
                code = clip(round(Fraction(total * int(layer.multiplier[o]), 1 << 16)))
                y[o, r, c] = max(code, 0) if layer.relu else code
    return y


@settings(deadline=None, max_examples=60)
@given(convolutions())
def test_convolution_matches_plain_loops(case: tuple[QConv, NDArray[np.int8]]) -> None:
    layer, x = case
    np.testing.assert_array_equal(conv_reference(layer, x), slow_conv(layer, x))


def test_convolution_is_exact_beyond_float32() -> None:
    """Sums past 2**24 switch to float64, so the reference never loses a bit whatever the weights are."""
    weight = np.full((1, 2048, 1, 1), 127, np.int8)
    weight[0, 0] = 126
    x = np.full((2048, 1, 1), 127, np.int8)
    total = 127 * (127 * 2047 + 126)
    layer = QConv("c", "x", "y", weight, np.asarray([-total + 3], np.int32), np.asarray([1 << 14], np.int32), Window())
    assert conv_reference(layer, x).item() == round(Fraction(3, 4)) == 1


@given(st.integers(-128, 127), st.integers(-128, 127), st.integers(-14, 14), st.integers(-14, 14), st.booleans())
def test_addition_matches_fractions(a: int, b: int, left: int, right: int, relu: bool) -> None:
    exact = clip(round(Fraction(a) * Fraction(2) ** left + Fraction(b) * Fraction(2) ** right))
    codes = [np.full((1, 1, 1), value, np.int8) for value in (a, b)]
    got = add_reference(Add("n", "a", "b", "y", relu=relu), codes[0], codes[1], (left, right))
    assert got.item() == (max(exact, 0) if relu else exact)


@st.composite
def transposed(draw: st.DrawFn) -> tuple[QConvTranspose, NDArray[np.int8], tuple[int, int]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.integers(1, 3))
    channels, per_group = groups * draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pairs = [[draw(st.integers(1, high)) for _ in range(2)] for high in (3, 3, 2, 4)]
    kernel, stride, dilation, size = pairs
    cut = [draw(st.integers(0, 1)) for _ in range(4)]
    full = [(size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    extra = [draw(st.integers(0, stride[i] - 1)) for i in (0, 1)]
    left = [max(full[i] - cut[i] - cut[i + 2] + extra[i], 1) for i in (0, 1)]
    layer = QConvTranspose(
        "t",
        "x",
        "y",
        rng.integers(-127, 128, (channels, per_group, *kernel)).astype(np.int8),
        rng.integers(-(2**20), 2**20, groups * per_group).astype(np.int32),
        rng.integers(1, 2**10, groups * per_group).astype(np.int32),
        Window(
            (kernel[0], kernel[1]),
            (stride[0], stride[1]),
            (cut[0], cut[1], cut[2], cut[3]),
            (dilation[0], dilation[1]),
        ),
        groups,
        relu=draw(st.booleans()),
    )
    return layer, rng.integers(-128, 128, (channels, *size)).astype(np.int8), (left[0], left[1])


@settings(deadline=None, max_examples=60)
@given(transposed())
def test_transposed_convolution_matches_plain_loops(
    case: tuple[QConvTranspose, NDArray[np.int8], tuple[int, int]],
) -> None:
    """Gathering for each output pixel what scattering from each input pixel must give."""
    layer, x, size = case
    channels, per_group, kh, kw = layer.weight.shape
    share = channels // layer.groups
    got = conv_transpose_reference(layer, x, size)
    assert got.shape == (per_group * layer.groups, *size)
    for o, r, c in np.ndindex(*got.shape):
        total = int(layer.bias[o])
        for i, u, v in np.ndindex(share, kh, kw):
            row, column = (
                r + layer.window.pads[0] - u * layer.window.dilation[0],
                c + layer.window.pads[1] - v * layer.window.dilation[1],
            )
            (y, off_y), (z, off_z) = divmod(row, layer.window.stride[0]), divmod(column, layer.window.stride[1])
            if off_y == off_z == 0 and 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                channel = o // per_group * share + i
                total += int(layer.weight[channel, o % per_group, u, v]) * int(x[channel, y, z])
        code = clip(round(Fraction(total * int(layer.multiplier[o]), 1 << 16)))
        assert got[o, r, c] == (max(code, 0) if layer.relu else code)


def test_weights_by_filter_and_by_channel_are_each_others_inverse() -> None:
    weight = np.arange(6 * 2 * 3, dtype=np.int8).reshape(6, 2, 3, 1)
    turned = by_filter(weight.astype(np.float32), 3)
    assert turned.shape == (6, 2, 3, 1) and turned[5, 1, 2, 0] == weight[5, 1, 2, 0] and turned[4, 1, 0, 0] == 30
    np.testing.assert_array_equal(by_channel(turned.astype(np.int8), 3), weight)


@given(st.integers(-128, 127), st.integers(-128, 127), st.integers(-15, 15), st.booleans())
def test_multiplication_matches_fractions(a: int, b: int, shift: int, relu: bool) -> None:
    exact = clip(round(Fraction(a * b) * Fraction(2) ** shift))
    codes = [np.full((1, 1, 1), value, np.int8) for value in (a, b)]
    got = mul_reference(Mul("n", "a", "b", "y", relu=relu), codes[0], codes[1], shift)
    assert got.item() == (max(exact, 0) if relu else exact)


def test_one_pixel_serves_every_pixel() -> None:
    a, b = np.arange(12, dtype=np.int8).reshape(2, 2, 3), np.asarray([[[3]], [[-2]]], np.int8)
    difference = add_reference(Add("n", "a", "b", "y", subtract=True), a, b, (0, 0))
    np.testing.assert_array_equal(difference, a.astype(int) - b)
    np.testing.assert_array_equal(mul_reference(Mul("n", "a", "b", "y"), a, b, 0), a.astype(int) * b)


def test_what_moves_codes() -> None:
    x = np.arange(-6, 6, dtype=np.int8).reshape(2, 2, 3)
    table = np.arange(256, dtype=np.uint8).view(np.int8)[::-1].copy()
    np.testing.assert_array_equal(table_reference(QTable("t", "x", "y", table, "Neg"), x), -1 - x)
    np.testing.assert_array_equal(select_reference(Select("s", "x", "y", np.asarray([1, 0, 1])), x), x[[1, 0, 1]])
    padded = pad_reference(QPad("p", "x", "y", (1, -1, -1, 2), 9), x)
    np.testing.assert_array_equal(padded[0], [[9, 9, 9, 9], [-5, -4, 9, 9]])
    np.testing.assert_array_equal(upsample_reference(Upsample("u", "x", "y", (1, 2)), x)[1, 0], [0, 0, 1, 1, 2, 2])


def test_max_pooling_ignores_its_padding() -> None:
    x = np.asarray([[[-128, -5], [-7, -9]]], np.int8)
    layer = MaxPool("m", "x", "y", Window((2, 2), pads=(1, 1, 0, 0)))
    np.testing.assert_array_equal(max_pool_reference(layer, x), [[[-128, -5], [-7, -5]]])


def _graph() -> QGraph:
    tensors = {name: QTensor(name, 1, 2, 2, -3) for name in "xy"}
    return QGraph("g", tensors, (Relu("r", "x", "y"),), "x", (Output("y", "y", (1, 2, 2)),))


def test_every_image_of_a_batch_runs_alone() -> None:
    x = np.arange(-6, 6, dtype=np.int8).reshape(3, 1, 2, 2)
    np.testing.assert_array_equal(run_reference(_graph(), x)["y"], np.maximum(x, 0))
    assert run_reference(_graph(), x[:0])["y"].shape == (0, 1, 2, 2)


@pytest.mark.parametrize("x", [np.zeros((1, 1, 2, 3), np.int8), np.zeros((1, 2, 2), np.int8), np.zeros((1, 1, 2, 2))])
def test_a_wrong_input_is_refused(x: NDArray[np.int8]) -> None:
    with pytest.raises(InputError, match="the network reads int8 N x 1 x 2 x 2"):
        run_reference(_graph(), x)


def test_every_operator_states_its_rules() -> None:
    assert len(BY_NAME) == len(OPERATORS)
    for operator in OPERATORS:
        assert operator.becomes and operator.constraints, operator.onnx
        for constraint in operator.constraints:
            assert len(rule_of(constraint)) > 15, constraint


def test_the_page_of_supported_operators_is_current() -> None:
    assert stale({page.PAGE: page.page()}) == []
