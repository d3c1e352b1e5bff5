"""Structures of the recursive engine: one tap each, that is a chunk of input lanes, a block of output channels and the
kernel positions that the tap serves. A tap without a weight is in no tap list: it takes no cycle and no byte.
"""

from __future__ import annotations

import numpy as np

from proprune_cli.channels.dependencies import ChannelMap
from proprune_cli.prune.knapsack.structures import Ints, Layer, LayerStructures, Structures, compact
from proprune_cli.prune.objective import EngineTaps
from proprune_cli.work.layer import LayerWork
from proprune_cli.work.taps import chunks_of

RESOURCES = ("cycles", "weights", "ddr")
"""Engine cycles of the taps; bytes of the weight stream; bytes read and written per image, tensors included."""


def engine_structures(layers: list[tuple[str, Layer]], channels: ChannelMap, engine: EngineTaps) -> Structures:
    """Structures of the convolutions and fully connected layers ``layers``."""
    works = {record.work.name: record.work for record in channels.layers}
    found = [
        _layer(f"{name}.weight", tuple(module.weight.shape), works[name], _flattened(channels, name), engine)
        for name, module in layers
        if name in works
    ]
    return Structures(RESOURCES, tuple(found))


def tap_labels(shape: tuple[int, int, int, int], groups: int, engine: EngineTaps) -> tuple[Ints, int]:
    """Tap of each weight of a convolution, int64 [out, in / groups, rows, columns], and the number of labels."""
    outs, per_group, rows, columns = shape
    block = np.arange(outs) // engine.outputs
    first = np.arange(outs) // (outs // groups) * per_group
    channel = first[:, None] + np.arange(per_group)[None, :]
    in_channels = per_group * groups
    dealt = chunks_of(in_channels, "dense", engine.lane_counts)
    chunks = int(dealt.count[0])
    chunk = channel // (int(dealt.per_chunk[0]) * engine.group)
    slots = np.append(np.repeat(dealt.slots, chunks - 1), dealt.last_slots)
    position = np.arange(rows * columns).reshape(rows, columns)
    tap = position[None, None] // slots[chunk][:, :, None, None]
    labels = (block[:, None, None, None] * chunks + chunk[:, :, None, None]) * (rows * columns) + tap
    return labels.astype(np.int64), (int(block[-1]) + 1) * chunks * rows * columns


def _layer(weight: str, shape: tuple[int, ...], work: LayerWork, positions: int, e: EngineTaps) -> LayerStructures:
    whole = (
        (shape[0], shape[1], shape[2], shape[3]) if len(shape) == 4 else (shape[0], shape[1] // positions, 1, positions)
    )
    labels, count = tap_labels(whole, work.groups if len(shape) == 4 else 1, e)
    pixels = int(np.prod(work.out_size)) if len(shape) == 4 else 1
    tiles = -(-pixels // (e.pixels * e.accumulators))
    beats = max(-(-pixels // e.pixels), e.min_beats * tiles)
    # The weights of a tap stream in while the one before computes: the slower of the two decides.
    cycles = max(beats, -(-e.tap_words // e.port_words) * tiles)
    tap_bytes = 8 * e.tap_words
    costs = np.tile(np.array([cycles, tap_bytes, tap_bytes * tiles], dtype=np.float64), (count, 1))
    labels, costs = compact(labels.reshape(shape), costs)
    in_pixels = int(np.prod(work.in_size)) if len(shape) == 4 else positions
    tensors = _padded(work.in_channels if len(shape) == 4 else whole[1], e) * in_pixels
    tensors += _padded(work.out_channels, e) * pixels
    return LayerStructures(weight, labels, costs, np.array([0.0, 0.0, float(tensors)]))


def _padded(channels: int, engine: EngineTaps) -> int:
    return -(-channels // engine.group) * engine.group


def _flattened(channels: ChannelMap, name: str) -> int:
    """Pixels per channel that a fully connected layer reads: more than 1 where it follows a flattened image, which the
    compiler turns into a convolution as large as the image.
    """
    widths: set[int] = set()
    for group in channels.groups:
        for member in group.members:
            if member.tensor == f"{name}.weight" and member.dim == 1:
                index = member.index
                contiguous = bool((np.diff(index, axis=1) == 1).all()) if index.shape[1] > 1 else True
                widths.add(index.shape[1] if contiguous else 0)
    return widths.pop() if len(widths) == 1 and 0 not in widths else 1
