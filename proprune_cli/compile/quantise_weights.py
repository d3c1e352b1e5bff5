"""Quantising one convolution: weight codes, bias and multipliers per output channel, with every bound proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Conv
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, MULTIPLIER_LIMIT, REQUANT_SHIFT, QConv

SIGNIFICANT_BITS = 6
"""Multipliers have at most this many significant bits, so that ONNX Runtime's float convolution stays exact too."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class QuantisedConv:
    """A quantised convolution and what is known of it.

    Attributes:
        limited: channels whose scale was widened to keep the accumulator below ``ACCUMULATOR_LIMIT``.
        exact_in_float: whether every partial sum of the float32 convolution on dequantised values is exact.
        weight_sqnr_db: signal to quantisation noise of the weights, decibels.
        error: float64 [out, in // groups], sum over the kernel of float weight minus its quantised value.
    """

    layer: QConv
    limited: int
    exact_in_float: bool
    weight_sqnr_db: float
    error: F64


def quantise_conv(node: Conv, bias: F64, ex: int, ey: int, *, nonnegative: bool) -> QuantisedConv | None:
    """Quantise ``node`` for input scale ``2**ex`` and output scale ``2**ey``.

    The weight scale is ``s_w[o] = m[o] * 2**-16 * 2**(ey - ex)`` with the smallest multiplier m that keeps every weight
    code within 127 and the accumulator, in any order of summation, below ``ACCUMULATOR_LIMIT``.

    Args:
        bias: float64 [out], used in place of the node's.
        nonnegative: input codes are in [0, 127] (after a ReLU), else in [-128, 127].

    Returns:
        None when a multiplier would have to reach ``MULTIPLIER_LIMIT``: ``ey`` must be raised.
    """
    weight = node.weight.reshape(node.weight.shape[0], -1).astype(np.float64)
    unit = 2.0 ** (REQUANT_SHIFT + ex - ey)
    low = 0 if nonnegative else 128
    peak = np.abs(weight).max(axis=1)
    slack = 64.0 * weight.shape[1] + 2.0
    if slack > ACCUMULATOR_LIMIT / 2:
        slack = ACCUMULATOR_LIMIT / 2
    for_range = peak / 127.0 * unit
    for_sum = _reach(weight, bias * 2.0**-ex, low) * unit / (ACCUMULATOR_LIMIT - slack)
    limited = for_sum > np.maximum(for_range, 1.0)
    multiplier = round_up(np.maximum(np.ceil(np.maximum(for_range, for_sum)), 1.0))
    while True:
        if int(multiplier.max()) >= MULTIPLIER_LIMIT:
            return None
        codes, bias_codes = _codes(weight, bias, multiplier, unit, ey)
        over = _reach(codes, bias_codes, low) >= ACCUMULATOR_LIMIT
        if not over.any():
            break
        limited |= over
        multiplier = np.where(over, round_up(multiplier + 1.0), multiplier)
    uniform, codes_of_uniform, multiplier_of_uniform = _uniform(weight, bias, unit, ey, low)
    codes = np.where(uniform[:, None], codes_of_uniform, codes)
    multiplier = np.where(uniform, multiplier_of_uniform, multiplier)
    bias_codes = np.rint(bias / (multiplier * 2.0 ** (ey - REQUANT_SHIFT)))
    real = codes * (multiplier / unit)[:, None]
    odd = multiplier // (multiplier & -multiplier)
    layer = QConv(
        node.name,
        node.x,
        node.y,
        codes.astype(np.int8).reshape(node.weight.shape),
        bias_codes.astype(np.int32),
        multiplier.astype(np.int32),
        node.stride,
        node.pads,
        node.dilation,
        node.groups,
        node.relu,
    )
    return QuantisedConv(
        layer,
        int(np.count_nonzero(limited & ~uniform)),
        bool((_reach(codes, bias_codes, low) * odd < ACCUMULATOR_LIMIT).all()),
        sqnr_db(weight, real),
        (weight - real).reshape(*node.weight.shape[:2], -1).sum(axis=2),
    )


def round_up(multiplier: NDArray[np.floating[Any]]) -> I64:
    """The next integer with at most ``SIGNIFICANT_BITS`` significant bits."""
    exponent = np.maximum(np.frexp(multiplier)[1] - SIGNIFICANT_BITS, 0)
    unit = np.left_shift(np.int64(1), exponent.astype(np.int64))
    return (np.ceil(multiplier / unit) * unit).astype(np.int64)


def sqnr_db(signal: F64, approximation: F64) -> float:
    """Signal to quantisation noise ratio in decibels; infinite without noise."""
    noise = float(np.sum((signal - approximation) ** 2))
    power = float(np.sum(signal**2))
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(power / noise)) if power else 0.0


def _reach(weight: F64, bias: F64, low: int) -> F64:
    """Largest magnitude of any partial sum, per channel: positive and negative contributions apart."""
    positive, negative = np.maximum(weight, 0).sum(axis=1), np.maximum(-weight, 0).sum(axis=1)
    top = 127 * positive + low * negative + np.maximum(bias, 0)
    bottom = low * positive + 127 * negative + np.maximum(-bias, 0)
    return np.maximum(top, bottom)


def _codes(weight: F64, bias: F64, multiplier: I64, unit: float, ey: int) -> tuple[F64, F64]:
    codes = np.clip(np.rint(weight * (unit / multiplier)[:, None]), -127, 127)
    return codes, np.rint(bias / (multiplier * 2.0 ** (ey - REQUANT_SHIFT)))


def _uniform(weight: F64, bias: F64, unit: float, ey: int, low: int) -> tuple[NDArray[np.bool_], F64, I64]:
    """Channels whose weights all have one magnitude (pooling, one-tap scaling, binary): a power of two as the code.

    Then the multiplier carries the value with up to 15 bits. The power is chosen for the least error of product and
    bias together; channels where the float path would not be provably exact are left to the general rule.

    Returns:
        Which channels (bool [out]), their codes (float64 [out, n]) and multipliers (int64 [out]).
    """
    magnitude = np.abs(weight)
    peak = magnitude.max(axis=1)
    same = (peak > 0) & ((magnitude == peak[:, None]) | (magnitude == 0)).all(axis=1)
    best = np.full(peak.shape, np.inf)
    codes, chosen = np.zeros_like(weight), np.ones(peak.shape, np.int64)
    if not same.any():
        return same, codes, chosen
    for power in range(7):
        code = 2.0**power
        multiplier = np.maximum(np.rint(peak * unit / code), 1.0).astype(np.int64)
        step = multiplier * 2.0 ** (ey - REQUANT_SHIFT)
        bias_codes = np.rint(bias / step)
        odd = multiplier // (multiplier & -multiplier)
        tried = np.sign(weight) * code
        fits = (multiplier < MULTIPLIER_LIMIT) & (_reach(tried, bias_codes, low) * odd < ACCUMULATOR_LIMIT)
        # In output codes: the product's relative error at full scale, and the bias's rounding.
        cost = 128.0 * np.abs(multiplier * code / np.where(same, peak * unit, 1.0) - 1.0)
        cost = cost + np.abs(bias_codes * step - bias) * 2.0**-ey
        better = same & fits & (cost < best)
        best = np.where(better, cost, best)
        chosen = np.where(better, multiplier, chosen)
        codes = np.where(better[:, None], tried, codes)
    return np.isfinite(best), codes, chosen
