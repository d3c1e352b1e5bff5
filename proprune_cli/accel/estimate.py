"""Cycles from layer shapes alone, in closed form: for estimating thousands of networks, not for compiling one.

``accel/timing`` walks the steps of a finished tiling; this does what tiling would lead to without searching for it. All
layers are computed at once, as columns. ``benchmarks/bench_estimate.py`` compares the two over the zoo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.timing import PIPELINE_DEPTH, Memory

MODEL = "proprune shape model 2"
"""Name under which its figures are reported."""

EXPOSED = 0.5
"""Share of a layer's first load and last store that its neighbours do not hide; fitted to the timing model."""

DENSE, DIAGONAL, MAX = 0, 1, 2
"""Kinds of layer: convolution or fully connected; depthwise or average pooling; max pooling, or no weights at all."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shapes:
    """Layers as columns, int64 [layers].

    Attributes:
        kind: DENSE, DIAGONAL or MAX. residual: 1 where the output stage reads another operand.
        constant: 1 where every tap has the same weights (average pooling).
    """

    kind: Ints
    in_channels: Ints
    in_height: Ints
    in_width: Ints
    out_channels: Ints
    out_height: Ints
    out_width: Ints
    kernel_height: Ints
    kernel_width: Ints
    stride: Ints
    residual: Ints
    constant: Ints

    @staticmethod
    def of(rows: list[tuple[int, ...]]) -> Shapes:
        """From one tuple per layer, in the order of the attributes."""
        return Shapes(*np.array(rows, dtype=np.int64).T)


def estimate_cycles(s: Shapes, array: Array, memory: Memory) -> Ints:
    """Predicted cycles of each layer, int64 [layers]."""
    ic_groups, oc_groups = array.ic_groups, array.oc_groups
    positions = s.kernel_height * s.kernel_width
    in_groups, out_groups = _ceil(s.in_channels, isa.GROUP), _ceil(s.out_channels, isa.GROUP)
    per_chunk = np.minimum(np.where(s.kind == DENSE, ic_groups, oc_groups), in_groups)
    chunks = _ceil(in_groups, per_chunk)

    slots = np.where(s.kind == MAX, array.ic // array.oc, ic_groups // per_chunk)
    slots = np.where((s.kind == DENSE) & (in_groups == 1), array.ic // np.minimum(s.in_channels, array.ic), slots)
    last = in_groups - (chunks - 1) * per_chunk
    last_slots = np.where((s.kind == DENSE) & (in_groups > 1), ic_groups // last, slots)
    taps_full, taps_last = _ceil(positions, slots), _ceil(positions, last_slots)
    blocks = np.where(s.kind == DENSE, _ceil(s.out_channels, array.oc), chunks)
    taps = np.where(s.kind == DENSE, ((chunks - 1) * taps_full + taps_last) * blocks, taps_full * chunks)

    # The smallest number of tiles that the accumulators and, per chunk, the banks admit.
    pixels = s.out_height * s.out_width
    halo = _cells(s, s.out_height) / np.maximum(s.in_height * s.in_width, 1)
    per_step = np.where(s.kind == DENSE, chunks, 1)
    by_accumulators = _ceil(pixels, array.px * array.acc_depth)
    by_banks = np.ceil(s.in_height * s.in_width * halo * per_step / array.bank_depth)
    tiles = np.maximum(by_accumulators, by_banks)

    # More tiles hide more of the first load and the last store, and cost a restart each.
    load = s.in_height * s.in_width * halo * in_groups
    words_per_tap = np.where(s.kind == MAX, array.reuse_tap_words, array.tap_words)
    fresh = np.where(s.constant == 1, 2 * blocks, taps)
    stream = blocks * array.block_words + fresh * words_per_tap + (taps - fresh) * array.reuse_tap_words
    weight_cycles = stream / array.weight_port_words
    widest = np.maximum(pixels / array.px * taps / np.maximum(weight_cycles, 1), 1)
    wished = np.clip(np.sqrt(load / PIPELINE_DEPTH) / 2, 1, np.minimum(widest, s.out_height))
    tiles = np.maximum(tiles, np.where(s.kind == DENSE, wished, 1))
    steps = np.where(s.kind == DENSE, tiles, np.maximum(tiles, np.minimum(chunks, 8)))

    rounding = np.where(s.out_width % array.px == 0, 0.0, 0.5) * tiles
    beats = np.maximum(np.ceil(pixels / array.px) + rounding, array.min_beats * tiles)
    compute = taps * beats + PIPELINE_DEPTH * steps
    fetch = load + (load / np.maximum(s.in_width, 1) * (tiles > s.out_height)) * memory.latency
    store = out_groups * pixels
    words = load + weight_cycles * array.weight_port_words * tiles + store * (1 + s.residual)
    shared = words * isa.WORD_BYTES / memory.bytes_per_cycle
    busy = np.maximum.reduce([compute, weight_cycles * tiles + memory.latency, store.astype(np.float64), fetch, shared])
    fill = load / np.maximum(steps, 1) + memory.latency
    drain = pixels / tiles * oc_groups + memory.latency
    return np.rint(busy + EXPOSED * (fill + drain) + 2 * memory.latency).astype(np.int64)


def _cells(s: Shapes, rows: Ints) -> Floats:
    """Bank cells that the whole output reads, padding included."""
    height = (rows - 1) * s.stride + s.kernel_height
    width = (s.out_width - 1) * s.stride + s.kernel_width
    return (height * width).astype(np.float64)


def _ceil(a: Ints, b: Ints | int) -> Ints:
    return -(-a // b)
