"""One layer for the engine's tests, and what it must compute by direct NumPy convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa


@dataclass(frozen=True)
class Case:
    """One layer: a convolution (or maximum) of ``kernel`` with its output stage, and how it is cut into steps."""

    channels: int = 8
    height: int = 6
    width: int = 7
    outputs: int = 8
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right"""
    pad_value: int = 0
    mode: isa.Mode = isa.Mode.MAC
    groups_per_chunk: int = 1
    groups_per_step: int = 0
    """Input groups of one step; 0: all of them, the accumulators live within one step."""
    tile: tuple[int, int] = (0, 0)
    """Output tile; 0: the whole plane (that must fit the accumulators)."""
    pitch_extra: int = 0
    same_weights: bool = False
    """Every kernel position has the same weights, so that all taps of a chunk but the first reuse them."""
    shuffle_lanes: bool = False
    relu_before: bool = False
    relu_after: bool = False
    combine: isa.Combine = isa.Combine.NONE
    subtract: bool = False
    broadcast: bool = False
    shifts: tuple[int, int, int] = (0, 0, 0)
    lookup: isa.Lookup = isa.Lookup.NONE
    out_step: tuple[int, int] = (1, 1)
    out_margin: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right: rows and pixels of the output planes around what the layer fills"""
    window: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right: rows and pixels of larger planes around the input"""
    seed: int = 0

    @property
    def out_shape(self) -> tuple[int, int]:
        top, left, bottom, right = self.pads
        kh, kw = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return (
            (self.height + top + bottom - kh) // self.stride[0] + 1,
            (self.width + left + right - kw) // self.stride[1] + 1,
        )

    @property
    def out_groups(self) -> int:
        return -(-self.outputs // isa.GROUP)

    @property
    def out_plane(self) -> tuple[int, int]:
        """Rows and words of a row of an output plane, margins included."""
        top, left, bottom, right = self.out_margin
        rows, cols = ((n - 1) * s + 1 for n, s in zip(self.out_shape, self.out_step, strict=True))
        return top + rows + bottom, left + cols + right

    @property
    def in_plane(self) -> tuple[int, int]:
        """Rows and words of a row of the planes that the input is a window of."""
        top, left, bottom, right = self.window
        return top + self.height + bottom, left + self.width + right

    @property
    def filled(self) -> tuple[slice, slice]:
        """The rows and words of an output plane that the layer fills."""
        top, left = self.out_margin[:2]
        (oh, ow), (sy, sx) = self.out_shape, self.out_step
        return slice(top, top + (oh - 1) * sy + 1, sy), slice(left, left + (ow - 1) * sx + 1, sx)


def round_half_even(v: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """v / 2**shift to the nearest integer, ties to even, by way of exact double arithmetic (|v| < 2**53)."""
    return np.rint(v.astype(np.float64) / 2.0**shift).astype(np.int64)


def reference(
    case: Case,
    x: NDArray[np.int8],
    w: NDArray[np.int8],
    bias: NDArray[np.int32],
    multiplier: NDArray[np.uint16],
    r: NDArray[np.int8],
    table: NDArray[np.int8],
) -> NDArray[np.int8]:
    """The layer computed directly: int8 [outputs, out_height, out_width]; r broadcasts against that shape."""
    top, left, bottom, right = case.pads
    xp = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=case.pad_value).astype(np.int64)
    oh, ow = case.out_shape
    views = [
        xp[
            :,
            ky * case.dilation[0] : ky * case.dilation[0] + (oh - 1) * case.stride[0] + 1 : case.stride[0],
            kx * case.dilation[1] : kx * case.dilation[1] + (ow - 1) * case.stride[1] + 1 : case.stride[1],
        ]
        for ky in range(case.kernel[0])
        for kx in range(case.kernel[1])
    ]
    if case.mode == isa.Mode.MAX:
        q = np.max(np.stack(views), axis=0)
    else:
        flat = w.reshape(*w.shape[:2], -1).astype(np.int64)
        acc = sum(np.einsum("oc,chw->ohw", flat[:, :, k], v) for k, v in enumerate(views))
        acc = acc + bias[:, None, None].astype(np.int64)
        q = np.clip(round_half_even(acc * multiplier[:, None, None].astype(np.int64), 16), -128, 127)
    if case.relu_before:
        q = np.maximum(q, 0)
    if case.lookup == isa.Lookup.BEFORE:
        q = table[np.asarray(q) % 256].astype(np.int64)
    a, b, y = case.shifts
    if case.combine == isa.Combine.ADD:
        operand = r.astype(np.int64) * (-1 if case.subtract else 1)
        q = np.clip(round_half_even(q * 2**a + operand * 2**b, y), -128, 127)
    elif case.combine == isa.Combine.MULTIPLY:
        q = np.clip(round_half_even(q * r.astype(np.int64) * 2**a, y), -128, 127)
    if case.relu_after:
        q = np.maximum(q, 0)
    if case.lookup == isa.Lookup.AFTER:
        q = table[np.asarray(q) % 256]
    return q.astype(np.int8)
