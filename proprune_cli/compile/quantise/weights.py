"""Quantising one convolution: weight codes, bias and multipliers per output channel, with every bound proven."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.graph import Conv
from proprune_cli.ir.quantized import ACCUMULATOR_LIMIT, MULTIPLIER_LIMIT, REQUANT_SHIFT, QConv
from proprune_cli.work.layer import of_one_bit

COARSE = 33 / 32
"""A channel counts as limited when its scale is wider than its largest weight asks for by more than this factor."""

LARGEST_MULTIPLE = 127
WHOLE = 1e-4
"""Weights of a channel count as multiples of its least one up to the first, each within the second of a whole one."""

WORST_UNIFORM = 1.0
"""A channel of such multiples goes by the general rule when the special one would err by this many output codes."""

LARGEST_POWER = 6
POWERS = tuple(range(LARGEST_POWER + 1))
"""Powers of two that the codes of a channel of equal weights are chosen from."""

WORST_BINARY = 6.0
"""The same for layers of binary weights: the general rule is held to the same bounds, and no more exact."""

BLOCK = 1 << 18
"""Weights handled at a time: float64 copies of these stay in the cache, and memory stays bounded."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class QuantisedConv:
    """A quantised convolution and what is known of it.

    Attributes:
        limited: channels whose scale was widened to prove that no partial sum passes ``ACCUMULATOR_LIMIT``.
        exact_in_float: whether every partial sum of the float32 convolution on dequantised values is exact.
        weight_sqnr_db: signal to quantisation noise of the weights, decibels.
        error: float64 [out, in // groups], sum over the kernel of float weight minus its quantised value.
        sums: float64 [2, out], largest magnitude of a positive and of a negative partial sum, without the bias.
    """

    layer: QConv
    limited: int
    exact_in_float: bool
    weight_sqnr_db: float
    error: F64
    sums: F64


def quantise_conv(node: Conv, bias: F64, ex: int, ey: int, *, nonnegative: bool) -> QuantisedConv | None:
    """Quantise ``node`` for input scale ``2**ex`` and output scale ``2**ey``.

    The weight scale is ``s_w[o] = m[o] * 2**-16 * 2**(ey - ex)``. Write the multiplier as m = k * 2**t with k odd.
    Then a float32 convolution on the dequantised values adds integers times k (in units of its own), and is exact in
    any order of summation when no partial sum of those reaches 2**24; so is the integer accumulator. The smallest t
    that proves it is taken, then of the two multiples of 2**t next to what the largest weight asks for, the one whose
    codes are closer to the weights.

    Args:
        bias: float64 [out], used in place of the node's.
        nonnegative: input codes are in [0, 127] (after a ReLU), else in [-128, 127].

    Where all weights of each channel have one magnitude, or are 0, the codes are one power of two in the whole layer,
    of either sign, and 0, if every channel's scale fits its multiplier so: the engine stores such weights in one bit.

    Returns:
        None when a multiplier would have to reach ``MULTIPLIER_LIMIT``: ``ey`` must be raised.
    """
    unit = 2.0 ** (REQUANT_SHIFT + ex - ey)
    low = 0 if nonnegative else 128
    blocks: list[_Block] | None = None
    for power in range(LARGEST_POWER + 1) if is_binary(node) else ():
        blocks = blocks or _blocks(node, bias, unit, ey, low, (power,))
    blocks = blocks or _blocks(node, bias, unit, ey, low, POWERS)
    if blocks is None:
        return None
    layer = QConv(
        node.name,
        node.x,
        node.y,
        np.concatenate([block.codes for block in blocks]).reshape(node.weight.shape),
        np.concatenate([block.bias for block in blocks]),
        np.concatenate([block.multiplier for block in blocks]),
        node.window,
        node.groups,
        relu=node.relu,
    )
    return QuantisedConv(
        layer,
        sum(block.limited for block in blocks),
        all(block.exact for block in blocks),
        decibels(sum(block.signal for block in blocks), sum(block.noise for block in blocks)),
        np.concatenate([block.error for block in blocks]),
        np.concatenate([block.sums for block in blocks], axis=1),
    )


def is_binary(node: Conv) -> bool:
    """Whether the engine might keep the weights in one bit each: see `of_one_bit`."""
    return of_one_bit(node.weight.reshape(len(node.weight), -1), node.groups)


def _blocks(node: Conv, bias: F64, unit: float, ey: int, low: int, powers: tuple[int, ...]) -> list[_Block] | None:
    """All output channels, some at a time; None where a multiplier does not fit."""
    weight = node.weight.reshape(node.weight.shape[0], -1)
    rows = max(1, BLOCK // weight.shape[1])
    blocks: list[_Block] = []
    for at in range(0, len(weight), rows):
        some, channels = slice(at, at + rows), node.weight.shape[1]
        block = _quantise_rows(weight[some].astype(np.float64), bias[some], unit, ey, low, channels, powers)
        if block is None:
            return None
        blocks.append(block)
    return blocks


def with_bias(done: QuantisedConv, bias: F64, ey: int) -> QuantisedConv | None:
    """``done`` with another bias (float64 [out]), or None when its multipliers are not proven for that."""
    multiplier = done.layer.multiplier.astype(np.int64)
    bias_codes = _bias_codes(bias, multiplier, ey)
    reach = np.maximum(done.sums[0] + np.maximum(bias_codes, 0), done.sums[1] + np.maximum(-bias_codes, 0))
    if (reach * _odd_part(multiplier) >= ACCUMULATOR_LIMIT).any():
        return None
    return replace(done, layer=replace(done.layer, bias=bias_codes.astype(np.int32)))


@dataclass(frozen=True, eq=False)
class _Block:
    """Some output channels: codes int8 [rows, n], bias and multiplier int32 [rows], error float64 [rows, channels]."""

    codes: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    error: F64
    sums: F64
    signal: float
    noise: float
    limited: int
    exact: bool


def _quantise_rows(
    weight: F64, bias: F64, unit: float, ey: int, low: int, channels: int, powers: tuple[int, ...]
) -> _Block | None:
    """Quantise some output channels; weight is [rows, channels * kernel positions].

    With one power in ``powers`` every channel must do with that as its code; else None.
    """
    wished = np.abs(weight).max(axis=1) / 127.0 * unit
    need = _reach(weight, bias * 2.0 ** (REQUANT_SHIFT - ey) / unit, low) * unit / ACCUMULATOR_LIMIT
    shift = np.ceil(np.log2(np.maximum(need, 1.0))).astype(np.int64)
    uniform, codes, multiplier = _uniform(weight, bias, unit, ey, low, powers)
    if len(powers) == 1 and (~uniform & (wished > 0)).any():
        return None
    todo = np.flatnonzero(~uniform)
    while todo.size:
        step = np.left_shift(np.int64(1), np.minimum(shift[todo], 40))
        upper = np.maximum(np.ceil(wished[todo] / step), 1.0).astype(np.int64) * step
        if int(upper.max()) >= MULTIPLIER_LIMIT:
            return None
        multiplier[todo], codes[todo] = _closer(weight[todo], (upper, np.maximum(upper - step, step)), unit)
        bias_codes = _bias_codes(bias[todo], multiplier[todo], ey)
        unproven = _reach(codes[todo], bias_codes, low) * _odd_part(multiplier[todo]) >= ACCUMULATOR_LIMIT
        todo = todo[unproven]
        shift[todo] += 1
    bias_codes = _bias_codes(bias, multiplier, ey)
    sums = _sums(codes, low)
    top, bottom = sums[0] + np.maximum(bias_codes, 0), sums[1] + np.maximum(-bias_codes, 0)
    difference = weight - codes * (multiplier / unit)[:, None]
    return _Block(
        codes.astype(np.int8),
        bias_codes.astype(np.int32),
        multiplier.astype(np.int32),
        difference.reshape(len(weight), channels, -1).sum(axis=2),
        np.stack(sums),
        float(np.square(weight).sum()),
        float(np.square(difference).sum()),
        int(np.count_nonzero((multiplier > np.maximum(wished, 1.0) * COARSE) & ~uniform)),
        bool((np.maximum(top, bottom) * _odd_part(multiplier) < ACCUMULATOR_LIMIT).all()),
    )


def _closer(weight: F64, multipliers: tuple[I64, ...], unit: float) -> tuple[I64, F64]:
    """Per channel the multiplier with the least squared weight error, and its codes."""
    best = np.full(len(weight), np.inf)
    chosen, codes = multipliers[0], np.zeros_like(weight)
    for multiplier in multipliers:
        scale = (multiplier / unit)[:, None]
        tried = np.clip(np.rint(weight / scale), -127, 127)
        error = np.square(weight - tried * scale).sum(axis=1)
        better = error < best
        best = np.where(better, error, best)
        chosen = np.where(better, multiplier, chosen)
        codes = np.where(better[:, None], tried, codes)
    return chosen, codes


def _bias_codes(bias: F64, multiplier: I64, ey: int) -> F64:
    return np.rint(bias / (multiplier * 2.0 ** (ey - REQUANT_SHIFT)))


def _odd_part(multiplier: I64) -> I64:
    return multiplier // (multiplier & -multiplier)


def decibels(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)``; infinite without noise, 0 without signal."""
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(signal / noise)) if signal else 0.0


def _reach(weight: F64, bias: F64, low: int) -> F64:
    """Largest magnitude of any partial sum, per channel: positive and negative contributions apart."""
    top, bottom = _sums(weight, low)
    return np.maximum(top + np.maximum(bias, 0), bottom + np.maximum(-bias, 0))


def _sums(weight: F64, low: int) -> tuple[F64, F64]:
    """Magnitude of the largest and of the smallest partial sum of products, per channel."""
    positive, negative = np.maximum(weight, 0).sum(axis=1), np.maximum(-weight, 0).sum(axis=1)
    return 127 * positive + low * negative, low * positive + 127 * negative


def _uniform(
    weight: F64, bias: F64, unit: float, ey: int, low: int, powers: tuple[int, ...]
) -> tuple[NDArray[np.bool_], F64, I64]:
    """Channels whose weights are small whole multiples of one number (pooling, one-tap scaling, binary, bilinear).

    Those multiples times 2**power are the codes, and the multiplier carries the value. Among ``powers`` and multipliers
    with t trailing zero bits, the pair with the least error of product and bias together is taken, of those for which
    the float path is provably exact. The product's relative error stays near 2**-12, and below where no sum can pass
    256 output codes.

    Returns:
        Which channels (bool [out]), their codes (float64 [out, n]) and multipliers (int64 [out]).
    """
    magnitude = np.abs(weight)
    peak = magnitude.max(axis=1)
    least = np.where(magnitude > 0, magnitude, np.inf).min(axis=1)
    same = (peak > 0) & (peak <= LARGEST_MULTIPLE * least * (1 + WHOLE))
    codes, chosen = np.zeros_like(weight), np.ones(peak.shape, np.int64)
    rows = np.flatnonzero(same)
    multiples = weight[rows] / least[rows, None]
    whole = (np.abs(multiples - np.rint(multiples)) <= WHOLE).all(axis=1)
    same[rows[~whole]] = False
    rows, multiples = rows[whole], np.rint(multiples[whole])
    if not rows.size:
        return same, codes, chosen
    wanted, real_bias = least[rows] * unit, bias[rows]
    most, ones = np.abs(multiples).max(axis=1), _reach(multiples, np.zeros(len(rows)), low)
    power, zeros = (axis.reshape(-1, 1) for axis in np.meshgrid(powers, np.arange(15), indexing="ij"))
    code, trailing = np.left_shift(1, power), np.left_shift(np.int64(1), zeros)
    multiplier = (np.maximum(np.rint(wanted / (code * trailing)), 1.0) * trailing).astype(np.int64)
    bias_codes = _bias_codes(real_bias, multiplier, ey)
    reach = code * ones + np.abs(bias_codes)
    fits = (multiplier < MULTIPLIER_LIMIT) & (reach * _odd_part(multiplier) < ACCUMULATOR_LIMIT)
    fits &= code * most <= LARGEST_MULTIPLE
    # In output codes: the product's relative error at full scale, and the bias's rounding.
    rounding = bias_codes * multiplier * 2.0**-REQUANT_SHIFT - real_bias * 2.0**-ey
    cost = 128.0 * np.abs(multiplier * code / wanted - 1.0) + np.abs(rounding)
    cost = np.where(fits, cost, np.inf)
    best, each = cost.argmin(axis=0), np.arange(len(rows))
    codes[rows] = multiples * code[best]
    chosen[rows] = multiplier[best, each]
    same[rows] = cost[best, each] < (WORST_UNIFORM if len(powers) > 1 else WORST_BINARY)
    return same, codes, chosen
