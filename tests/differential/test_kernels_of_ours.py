"""Kernels that the compiler makes up, uniform or not, against float: means, borders of means, interpolation.

The input holds codes exactly, so that all that differs is the lowering's. Errors are in steps of the output's codes:
the *bias* of a pixel is the mean over images and channels, which rounding alone leaves near 0.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from proprune_cli.accel.program import to_codes
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.quantise.calibration import open_session, run_session
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ops.reference import run_reference
from tests.unit.compile.onnx_nets import model, node

SIZES = range(2, 14)
MAGNITUDES = (-3, 0, 9)
"""Exponents of 2 of the input's step."""


def errors(source: onnx.ModelProto, shape: tuple[int, ...], magnitude: int) -> tuple[float, float]:
    """Largest bias of a pixel, and largest error of any: in steps."""
    rng = np.random.default_rng(magnitude + 5)
    x = np.ldexp(rng.integers(40, 128, (24, *shape)).astype(np.float32), magnitude)
    quantised, _ = quantise(canonicalise(import_onnx(source)), x)
    (wanted,) = run_session(open_session(source.SerializeToString(), optimise=False), None, {"x": x})
    entry, exit_ = quantised.tensors["x"].exponent, quantised.tensors[quantised.outputs[0].tensor].exponent
    assert entry == magnitude
    got = np.ldexp(run_reference(quantised, to_codes(x, entry))["y"].astype(np.float64), exit_)
    difference = (got.reshape(wanted.shape) - wanted) / 2.0**exit_
    return float(np.abs(difference.mean(axis=(0, 1))).max()), float(np.abs(difference).max())


@pytest.mark.parametrize("kernel", SIZES)
@pytest.mark.parametrize("stride", [1, 2])
def test_means_whose_padding_does_not_count(kernel: int, stride: int) -> None:
    for pad in {1, kernel // 2, kernel - 1}:
        for size in ((kernel + 4, kernel + 9), (kernel, kernel)):
            source = model(
                node("AveragePool", ["x"], ["y"], kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2),
                image=(4, *size),
            )
            for magnitude in MAGNITUDES:
                bias, most = errors(source, (4, *size), magnitude)
                assert bias < 1.25 and most < 3, (pad, size, magnitude, bias, most)


@pytest.mark.parametrize("size", SIZES)
def test_means_of_everything(size: int) -> None:
    cases = (
        model(node("GlobalAveragePool", ["x"], ["y"]), image=(4, size, size + 3)),
        model(
            node("AveragePool", ["x"], ["y"], kernel_shape=[size, 2], count_include_pad=1), image=(4, size, size + 3)
        ),
    )
    for source in cases:
        for magnitude in MAGNITUDES:
            bias, most = errors(source, (4, size, size + 3), magnitude)
            assert bias < 0.5 and most < 1, (magnitude, bias, most)


@pytest.mark.parametrize("scale", SIZES)
@pytest.mark.parametrize("mode", ["half_pixel", "asymmetric", "align_corners"])
def test_interpolation(scale: int, mode: str) -> None:
    scales = {"s": np.asarray([1, 1, scale, scale], np.float32)}
    for size in ((4, 5), (3, 8)):
        source = model(
            node("Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode=mode),
            weights=scales,
            image=(2, *size),
        )
        for magnitude in MAGNITUDES:
            bias, most = errors(source, (2, *size), magnitude)
            assert bias < 1 and most < 2, (size, magnitude, bias, most)
