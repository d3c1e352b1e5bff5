"""Binary weights: the quantiser's codes are one power of two, and the engine's taps take them in one bit each."""

from __future__ import annotations

import numpy as np
import pytest

from proprune_cli.compile.quantise.weights import is_binary, quantise_conv
from proprune_cli.ir.graph import Conv
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, MULTIPLIER_LIMIT
from proprune_cli.ir.window import Window
from proprune_cli.ops.taps import signs_alone


def binary_conv(out: int, channels: int, kernel: int, scale: float, seed: int = 0) -> Conv:
    """Signs times a scale per filter, which differ by up to a factor of 4."""
    rng = np.random.default_rng(seed)
    signs = np.where(rng.random((out, channels, kernel, kernel)) < 0.5, -1, 1)
    scales = scale * rng.uniform(0.5, 2, out)
    weight = (signs * scales[:, None, None, None]).astype(np.float32)
    return Conv("conv", "x", "y", weight, rng.normal(0, 0.1, out).astype(np.float32), Window((kernel, kernel)))


@pytest.mark.parametrize(("channels", "kernel"), [(16, 3), (64, 1), (64, 3), (512, 3)])
@pytest.mark.parametrize("scale", [0.02, 0.2])
@pytest.mark.parametrize("nonnegative", [True, False])
def test_codes_are_one_power_of_two_with_a_multiplier_near_the_scale(
    channels: int, kernel: int, scale: float, nonnegative: bool
) -> None:
    node = binary_conv(8, channels, kernel, scale)
    assert is_binary(node)
    ey = int(np.ceil(np.log2(scale * channels * kernel**2))) - 5
    done = quantise_conv(node, node.bias.astype(np.float64), -5, ey, nonnegative=nonnegative)
    assert done is not None
    codes = done.layer.weight.astype(np.int64)
    assert len(np.unique(np.abs(codes))) == 1 and (np.sign(codes) == np.sign(node.weight)).all()
    m = done.layer.multiplier.astype(np.int64)
    assert m.min() >= 1 and m.max() < MULTIPLIER_LIMIT and done.exact_in_float
    real = codes * (m * 2.0 ** (ey + 5 - 16))[:, None, None, None]
    assert np.abs(real / node.weight - 1).max() < 6 / 128
    assert 128 * np.abs(codes).sum(axis=(1, 2, 3)).max() < ACCUMULATOR_LIMIT


def test_filters_of_one_weight_and_weights_of_two_sizes_are_not_binary() -> None:
    node = binary_conv(4, 8, 3, 0.1)
    uneven = node.weight.copy()
    uneven[0, 0, 0, 0] *= 2
    copies = np.eye(8, dtype=np.float32)[:, :, None, None]
    assert not is_binary(Conv("a", "x", "y", uneven, node.bias, node.window))
    assert not is_binary(Conv("b", "x", "y", copies, np.zeros(8, np.float32), Window()))


def test_taps_of_one_bit_have_one_magnitude_and_lanes_that_are_full_or_empty() -> None:
    weights = np.full((2, 1, 8, 16), 4, dtype=np.int8)
    weights[:, :, ::2] = -4
    weights[:, :, :, 5] = 0
    weights[1, :, 3:] = 0  # the second block has three filters

    def kind(change: tuple[int, ...] | None = None, value: int = 0) -> list[bool]:
        changed = weights.copy()
        if change is not None:
            changed[change] = value
        return signs_alone(changed, 11)[:, 0].tolist()

    assert kind() == [True, True]
    assert kind((0, 0, 2, 3)) == [False, True]  # a weight is missing
    assert kind((0, 0, 2, 3), 2) == [False, True]  # another magnitude
    assert kind((1, 0, 2, 5), 4) == [True, False]  # one filter alone has a weight in the lane
    assert signs_alone(np.full((1, 1, 8, 16), 3, dtype=np.int8), 8).tolist() == [[False]]
    assert signs_alone(np.full((1, 1, 8, 16), 64, dtype=np.int8), 8).tolist() == [[True]]
