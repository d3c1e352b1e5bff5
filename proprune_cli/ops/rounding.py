"""Integer rounding: divide by a power of two, half to even, clip to int8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.ir.quantized import REQUANT_SHIFT


def shift_half_even(value: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """``round_half_even(value / 2**shift)`` in integers, ``shift`` >= 1."""
    half = (1 << (shift - 1)) - 1
    return (value + half + ((value >> shift) & 1)) >> shift


def requantise(accumulator: NDArray[np.int64], multiplier: NDArray[np.int64]) -> NDArray[np.int8]:
    """``clip(round_half_even(accumulator * multiplier / 2**16), -128, 127)`` as int8."""
    return np.clip(shift_half_even(accumulator * multiplier, REQUANT_SHIFT), -128, 127).astype(np.int8)
