"""Cycles from layer shapes alone, in closed form: for estimating thousands of networks, not for compiling one.

``accel/timing`` walks the steps of a finished tiling; this does what tiling would lead to without searching for it. All
layers are computed at once, as columns. ``benchmarks/bench_estimate.py`` compares the two over the zoo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.timing import PIPELINE_DEPTH, Memory
from proprune_cli.work.layer import LayerWork, Unit, square
from proprune_cli.work.taps import UNITS, ceil_div, chunks, column

MODEL = "proprune shape model 2"
"""Name under which its figures are reported."""

EXPOSED = 0.5
"""Share of a layer's first load and last store that its neighbours do not hide; fitted to the timing model."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shapes:
    """Layers as columns, int64 [layers].

    Attributes:
        kind: a number of `UNITS`. residual: 1 where the output stage reads another operand.
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
    def of(layers: Sequence[LayerWork]) -> Shapes:
        """The columns of these layers. Of a grouped convolution, ``in_channels`` are those that a filter reads."""
        units: list[Unit] = [layer.unit for layer in layers]
        inside = [
            layer.in_channels if unit != "dense" else -(-layer.in_channels // layer.groups)
            for layer, unit in zip(layers, units, strict=True)
        ]
        sizes = [(*square(layer.in_size), *square(layer.out_size), *square(layer.kernel)) for layer in layers]
        in_height, in_width, out_height, out_width, kernel_height, kernel_width = zip(*sizes, strict=True)
        return Shapes(
            kind=column([UNITS[unit] for unit in units]),
            in_channels=column(inside),
            in_height=column(in_height),
            in_width=column(in_width),
            out_channels=column([layer.out_channels for layer in layers]),
            out_height=column(out_height),
            out_width=column(out_width),
            kernel_height=column(kernel_height),
            kernel_width=column(kernel_width),
            stride=column([layer.stride[0] if layer.stride else 1 for layer in layers]),
            residual=column([layer.residual for layer in layers]),
            constant=column([layer.constant for layer in layers]),
        )


def estimate_cycles(s: Shapes, array: Array, memory: Memory) -> Ints:
    """Predicted cycles of each layer, int64 [layers]."""
    oc_groups, dense = array.oc_groups, s.kind == UNITS["dense"]
    positions = s.kernel_height * s.kernel_width
    dealt = chunks(s.in_channels, s.kind, array.lane_counts)
    in_groups, out_groups = dealt.in_groups, ceil_div(s.out_channels, isa.GROUP)
    taps_full, taps_last = ceil_div(positions, dealt.slots), ceil_div(positions, dealt.last_slots)
    blocks = np.where(dense, ceil_div(s.out_channels, array.oc), dealt.count)
    taps = np.where(dense, ((dealt.count - 1) * taps_full + taps_last) * blocks, taps_full * dealt.count)

    # The smallest number of tiles that the accumulators and, per chunk, the banks admit.
    pixels = s.out_height * s.out_width
    halo = _cells(s, s.out_height) / np.maximum(s.in_height * s.in_width, 1)
    per_step = np.where(dense, dealt.count, 1)
    by_accumulators = ceil_div(pixels, array.px * array.acc_depth)
    by_banks = np.ceil(s.in_height * s.in_width * halo * per_step / array.bank_depth)
    tiles = np.maximum(by_accumulators, by_banks)

    # More tiles hide more of the first load and the last store, and cost a restart each.
    load = s.in_height * s.in_width * halo * in_groups
    words_per_tap = np.where(s.kind == UNITS["max"], array.reuse_tap_words, array.tap_words)
    fresh = np.where(s.constant == 1, 2 * blocks, taps)
    stream = blocks * array.block_words + fresh * words_per_tap + (taps - fresh) * array.reuse_tap_words
    weight_cycles = stream / array.weight_port_words
    widest = np.maximum(pixels / array.px * taps / np.maximum(weight_cycles, 1), 1)
    wished = np.clip(np.sqrt(load / PIPELINE_DEPTH) / 2, 1, np.minimum(widest, s.out_height))
    tiles = np.maximum(tiles, np.where(dense, wished, 1))
    steps = np.where(dense, tiles, np.maximum(tiles, np.minimum(dealt.count, 8)))

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
