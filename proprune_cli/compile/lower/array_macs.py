"""Multiply-accumulates that the array issues for a layer, and those of them that the network asks for."""

from __future__ import annotations

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.compile.lower.segments import Segment
from proprune_cli.compile.lower.weight_stream import TiledLayer
from proprune_cli.work.macs import ArrayMacs


def array_macs(tiled: TiledLayer, array: Array) -> ArrayMacs:
    """See `proprune_cli.work.macs`. Every tile walks the taps of every segment, so each pixel meets each tap once."""
    layer = tiled.layer
    if layer.weight is None:
        return ArrayMacs()
    per_pixel = sum(_issued(tiled, segment, array) for segment in tiled.tiling.segments)
    return ArrayMacs(per_pixel * layer.size[0] * layer.size[1], layer.useful_macs)


def _issued(tiled: TiledLayer, segment: Segment, array: Array) -> int:
    """Products per output pixel of a segment's taps: input lanes with a channel times output lanes with a filter."""
    layer, layout = tiled.layer, tiled.taps.layout
    units = tiled.taps.units[segment.row_range][segment.chunks[0] : segment.chunks[1]]
    fed = []
    for unit in units:
        channel = unit.chunk * layout.groups_per_chunk * isa.GROUP + layout.lanes(unit.chunk).channel
        fed.append(((unit.served.table >= 0) & (channel < layer.in_slots)).sum(axis=1))
    if tiled.taps.own_block:
        filters = [min(array.oc, layer.channels - unit.chunk * array.oc) for unit in units]
        return sum(int(lanes[unit.keep[0]].sum()) * n for lanes, unit, n in zip(fed, units, filters, strict=True))
    keep = np.concatenate([unit.keep[slice(*segment.blocks)] for unit in units], axis=1)
    keep[~keep.any(axis=1), 0] = True  # as in the stream: a block of zero weights still starts from its bias
    filters = np.minimum(array.oc, layer.channels - np.arange(*segment.blocks) * array.oc)
    return int((keep * np.concatenate(fed)).sum(axis=1) @ filters)
