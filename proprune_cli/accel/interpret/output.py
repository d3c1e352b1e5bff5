"""The output stage (``docs/engine.md``, "Output stage"): from sums to int8 codes in the output planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.machine import Layer
from proprune_cli.accel.interpret.memory import Memory
from proprune_cli.accel.interpret.order import Turn

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
    turn: Turn,
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
    pixel = _pixel_offsets(layer, s)
    group = int(block.out_group) + np.arange(groups, dtype=np.int64)[:, None]
    offsets = group * int(d.out_plane) + pixel
    if _meet(layer, s, groups) and np.unique(offsets).size < offsets.size:
        raise site.fault(
            f"two outputs of the block fall on one word: planes of {d.out_plane} words, rows of {d.out_pitch}, "
            f"steps of {d.out_step_y} rows and {d.out_step_x} pixels"
        )

    q = sums[:lanes]
    if not layer.is_max:
        q = _clip(shift_half_even(q * multiplier[:lanes, None], REQUANT_SHIFT))
    if d.relu_before:
        q = np.maximum(q, 0)
    q = _look_up(layer, q, isa.Lookup.BEFORE)
    q, residual_words = _combine(layer, block, q, pixel, memory, turn, site)
    if d.relu_after:
        q = np.maximum(q, 0)
    q = _look_up(layer, q, isa.Lookup.AFTER)
    codes = q.astype(np.int8).reshape(groups, isa.GROUP, pixel.size).transpose(0, 2, 1)
    memory.scatter(int(d.out_base), offsets, codes, turn.step, site)
    return offsets.size, residual_words


def _look_up(layer: Layer, q: NDArray[np.int64], place: isa.Lookup) -> NDArray[np.int64]:
    if layer.lookup is None or int(layer.d.lookup) != place:
        return q
    return layer.lookup[q % layer.lookup.size]


def _combine(
    layer: Layer,
    block: isa.BlockHeader,
    q: NDArray[np.int64],
    pixel: NDArray[np.int64],
    memory: Memory,
    turn: Turn,
    site: Site,
) -> tuple[NDArray[np.int64], int]:
    """``q`` (int64 [lanes, P]) with the residual operand, and the words read for it."""
    d, groups = layer.d, int(block.groups)
    if int(d.combine) == isa.Combine.NONE:
        return q, 0
    table = memory.table(int(d.residual_table) + int(block.out_group), groups, site, "the residual table")
    planes = (table & np.uint64(0xFFFFFFFF)).astype(np.int64)[:, None]
    operand = memory.gather(planes if d.broadcast else planes + pixel, turn.complete, site)  # [groups, P or 1, 8]
    r = operand.transpose(0, 2, 1).reshape(groups * isa.GROUP, operand.shape[1]).astype(np.int64)
    if int(d.combine) == isa.Combine.MULTIPLY:
        exact = (q * r) << int(d.shift_a)
    else:
        shifted = r << int(d.shift_b)
        exact = (q << int(d.shift_a)) + (-shifted if d.subtract else shifted)
    return _clip(shift_half_even(exact, int(d.shift_y))), groups * operand.shape[1]


def _pixel_offsets(layer: Layer, s: isa.StepDescriptor) -> NDArray[np.int64]:
    """int64 [P]: word of each pixel of the tile within an output plane, and within a residual plane."""
    y = int(s.oy0) + np.arange(int(s.tile_height), dtype=np.int64)
    x = int(s.ox0) + np.arange(int(s.tile_width), dtype=np.int64)
    row, step = int(layer.d.out_step_y) * int(layer.d.out_pitch), int(layer.d.out_step_x)
    return (y[:, None] * row + x * step).reshape(-1)


def _meet(layer: Layer, s: isa.StepDescriptor, groups: int) -> bool:
    """Whether rows or planes of the tile reach into one another; where they do, words may still differ."""
    d = layer.d
    row, plane = int(d.out_step_y) * int(d.out_pitch), int(d.out_plane)
    row_span = (int(s.tile_width) - 1) * int(d.out_step_x)
    plane_span = (int(s.tile_height) - 1) * row + row_span
    return (int(s.tile_height) > 1 and row <= row_span) or (groups > 1 and plane <= plane_span)


def _clip(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(values, -128, 127)
