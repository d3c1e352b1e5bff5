"""The output stage (``docs/engine.md``, "Output stage"): from sums to int8 codes in the output planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.machine import Layer, Memory

REQUANT_SHIFT = 16
"""Sums are multiplied by an integer and divided by ``2**REQUANT_SHIFT``."""


def shift_half_even(values: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """``values / 2**shift`` rounded to the nearest integer, halves to even."""
    if shift == 0:
        return values
    odd = (values >> shift) & 1
    return (values + (1 << (shift - 1)) - 1 + odd) >> shift


def emit(
    layer: Layer,
    s: isa.StepDescriptor,
    block: isa.BlockHeader,
    multiplier: NDArray[np.int64],
    sums: NDArray[np.int64],
    memory: Memory,
    site: Site,
) -> tuple[int, int]:
    """Finish the sums of one block and store them.

    Args:
        block: the block's header, with plain integers. multiplier: int64 [OC]. sums: int64 [OC, P], real pixels.

    Returns:
        Words stored and residual words read.

    Raises:
        InputError: an output or residual address is wrong.
    """
    d, groups = layer.d, int(block.groups)
    lanes = groups * isa.GROUP
    height, width = int(s.tile_height), int(s.tile_width)
    pixel = _pixel_offsets(s, int(d.out_width))
    group = int(block.out_group) + np.arange(groups, dtype=np.int64)[:, None]
    addresses = int(d.out_base) + group * int(d.out_plane) + pixel

    q = sums[:lanes]
    if not layer.is_max:
        q = _clip(shift_half_even(q * multiplier[:lanes, None], REQUANT_SHIFT))
    if d.relu_before:
        q = np.maximum(q, 0)
    if d.add:
        table = memory.table(int(d.residual_table) + int(block.out_group), groups, site, "the residual table")
        planes = (table & np.uint64(0xFFFFFFFF)).astype(np.int64)[:, None]
        operand = memory.gather(planes + pixel, site)
        r = operand.transpose(0, 2, 1).reshape(lanes, height * width).astype(np.int64)
        q = _clip(shift_half_even((q << int(d.shift_a)) + (r << int(d.shift_b)), int(d.shift_y)))
    if d.relu_after:
        q = np.maximum(q, 0)
    codes = q.astype(np.int8).reshape(groups, isa.GROUP, height * width).transpose(0, 2, 1)
    memory.scatter(addresses.reshape(-1), codes.reshape(-1, isa.GROUP), site)
    return addresses.size, addresses.size if d.add else 0


def _pixel_offsets(s: isa.StepDescriptor, out_width: int) -> NDArray[np.int64]:
    """int64 [P]: word of each pixel of the tile within an output plane."""
    y = int(s.oy0) + np.arange(int(s.tile_height), dtype=np.int64)
    x = int(s.ox0) + np.arange(int(s.tile_width), dtype=np.int64)
    return (y[:, None] * out_width + x).reshape(-1)


def _clip(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(values, -128, 127)
