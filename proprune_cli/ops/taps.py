"""How a layer becomes taps: which channel and kernel position each input lane serves, and the weights it needs.

A channel group occupies 8 lanes. Where a layer has fewer groups than the array has lane parts, groups repeat over the
parts and each copy serves another kernel position; where it has few channels, single bytes repeat in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.work.layer import Unit
from proprune_cli.work.taps import chunks_of

LARGEST_SIGN = 64
"""Largest magnitude of weights of one bit."""


@dataclass(frozen=True)
class Lanes:
    """What the lanes serve in a chunk.

    Attributes:
        groups: channel groups of the chunk.
        channel: int64 [IC], channel within the chunk, -1 where a lane idles.
        slot: int64 [IC], which of the tap's kernel positions the lane serves.
        slots: kernel positions of a tap.
    """

    groups: int
    channel: NDArray[np.int64]
    slot: NDArray[np.int64]
    slots: int


@dataclass(frozen=True)
class Positions:
    """Kernel position that each lane serves in each tap of a chunk: int64 [taps, IC], -1 where the lane idles."""

    table: NDArray[np.int64]

    @property
    def taps(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class LaneLayout:
    """Lanes of a whole layer: full chunks and the last one, which may be shorter.

    Attributes:
        groups_per_chunk, lane_select: as in the layer descriptor; lane_select is int64 [IC].
        kind: "dense", "diagonal" (depthwise: an output lane reads its own channel) or "max".
    """

    groups_per_chunk: int
    lane_select: NDArray[np.int64]
    in_groups: int
    full: Lanes
    last: Lanes
    kind: Unit

    @property
    def chunks(self) -> int:
        return -(-self.in_groups // self.groups_per_chunk)

    def lanes(self, chunk: int) -> Lanes:
        return self.last if chunk == self.chunks - 1 else self.full

    @cached_property
    def lane_select_words(self) -> tuple[int, int]:
        """The two lane_select fields."""
        shifted = [int(s) << (3 * (i % 16)) for i, s in enumerate(self.lane_select)]
        return sum(shifted[:16]), sum(shifted[16:])


def lane_layout(channels: int, array: Array, kind: Unit) -> LaneLayout:
    """Lay out ``channels`` input channels over the array's lanes."""
    dealt = chunks_of(channels, kind, array.lane_counts)
    in_groups, per_chunk = int(dealt.in_groups[0]), int(dealt.per_chunk[0])
    lane = np.arange(array.ic, dtype=np.int64)
    select = lane % isa.GROUP

    if kind == "dense" and in_groups == 1:
        # Byte by byte: lane l serves channel l mod channels of position l div channels.
        slots = int(dealt.slots[0])
        used = lane < slots * channels
        packed = Lanes(1, np.where(used, lane % channels, -1), np.where(used, lane // channels, 0), slots)
        return LaneLayout(1, np.where(used, lane % channels, 0), 1, packed, packed, kind)

    def parts(groups: int, slots: int) -> Lanes:
        part = lane // isa.GROUP
        if kind == "max":
            # Output lane o takes the maximum over lanes l with l mod OC = o, so a position fills OC lanes.
            used = (lane < slots * array.oc) & (part % array.oc_groups < groups)
            channel = part % groups * isa.GROUP + lane % isa.GROUP
            return Lanes(groups, np.where(used, channel, -1), np.where(used, lane // array.oc, 0), slots)
        used = part < slots * groups
        channel = part % groups * isa.GROUP + lane % isa.GROUP
        return Lanes(groups, np.where(used, channel, -1), np.where(used, part // groups, 0), slots)

    last = in_groups % per_chunk or per_chunk
    return LaneLayout(
        per_chunk, select, in_groups, parts(per_chunk, int(dealt.slots[0])), parts(last, int(dealt.last_slots[0])), kind
    )


def positions(first: int, count: int, lanes: Lanes) -> Positions:
    """Deal kernel positions ``first … first + count - 1`` (raster order) to taps of as many as the lanes have slots.

    Every channel of a tap is read at the same positions; ``lane_taps`` deals them lane by lane.
    """
    taps = -(-count // lanes.slots)
    slot = np.arange(taps, dtype=np.int64)[:, None] * lanes.slots + lanes.slot
    return Positions(np.where((slot < count) & (lanes.channel >= 0), first + slot, -1))


def dense_weights(
    weight: NDArray[np.int8], first_channel: int, lanes: Lanes, served: Positions, out_lanes: int
) -> NDArray[np.int8]:
    """Weights of one chunk for every block: int8 [blocks, taps, out_lanes, IC].

    ``weight`` is int8 [out_channels, in_channels, kernel positions]; channels beyond it count as 0.
    """
    out_channels, in_channels, _ = weight.shape
    position = served.table
    channel = first_channel + lanes.channel
    idle = (position < 0) | (channel >= in_channels)
    gathered = weight[:, np.where(channel < in_channels, channel, 0), np.where(position < 0, 0, position)]
    gathered[:, idle] = 0
    blocks = -(-out_channels // out_lanes)
    padded = np.zeros((blocks * out_lanes, *gathered.shape[1:]), dtype=np.int8)
    padded[:out_channels] = gathered
    return padded.reshape(blocks, out_lanes, *gathered.shape[1:]).transpose(0, 2, 1, 3)


def signs_alone(weights: NDArray[np.int8], out_channels: int) -> NDArray[np.bool_]:
    """Taps that weights of one bit can express, bool [blocks, taps] of int8 [blocks, taps, out_lanes, IC].

    In every lane all weights have one magnitude, a power of two that all lanes share, or all are 0. Output lanes past
    the last channel do not count: what they compute nobody reads.
    """
    blocks, taps, out_lanes, _ = weights.shape
    if not weights.size or int(weights.max()) > LARGEST_SIGN or int(weights.min()) < -LARGEST_SIGN:
        return np.zeros((blocks, taps), dtype=np.bool_)
    magnitude = np.abs(weights)
    top = magnitude.max(axis=(2, 3), keepdims=True)
    real = np.minimum(out_channels - np.arange(blocks) * out_lanes, out_lanes)[:, None, None]
    count = np.count_nonzero(weights, axis=2)
    whole = ((count == 0) | (count == real)).all(axis=2)
    same = ((magnitude == top) | (magnitude == 0)).all(axis=(2, 3))
    return np.asarray(whole & same & (top & (top - 1) == 0)[:, :, 0, 0])


def diagonal_weights(
    weight: NDArray[np.int8], first_channel: int, lanes: Lanes, served: Positions, out_lanes: int
) -> NDArray[np.int8]:
    """Weights from one chunk to its block: int8 [taps, out_lanes, IC]; ``weight`` is int8 [channels, positions]."""
    position = served.table
    out = np.zeros((served.taps, out_lanes, len(lanes.channel)), dtype=np.int8)
    channel = first_channel + lanes.channel
    valid = (position >= 0) & (lanes.channel >= 0) & (channel < len(weight))
    tap, lane = np.nonzero(valid)
    out[tap, lanes.channel[lane], lane] = weight[channel[lane], position[tap, lane]]
    return out
