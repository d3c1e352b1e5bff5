"""Loading: from feature planes to the lane banks (``docs/engine.md``, "Loading a tile")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.machine import Layer
from proprune_cli.accel.interpret.memory import Memory


@dataclass(frozen=True)
class Banks:
    """The lane banks after a load.

    Attributes:
        cells: float32 [IC, depth], input codes (0 where undefined). ``depth`` ends after the last cell loaded.
        defined: bool [IC, depth], cells that the load wrote; ``None`` when it wrote all of them.
        planes, window: addresses of the feature planes and the part (rows, columns) of each that was read.
    """

    cells: NDArray[np.float32]
    defined: NDArray[np.bool_] | None
    planes: tuple[int, ...]
    window: tuple[slice, slice]

    @property
    def fetch_words(self) -> int:
        """Words read."""
        rows, cols = self.window
        return len(self.planes) * (rows.stop - rows.start) * (cols.stop - cols.start)

    def check_unwritten(self, layer: Layer, memory: Memory, site: Site) -> None:
        """Check, when the step's turn has come, that no step of the layer before it wrote what it has read.

        Raises:
            InputError: one has.
        """
        for plane in self.planes:
            memory.check_unwritten(plane, layer.input, self.window, site)


def load_tile(layer: Layer, s: isa.StepDescriptor, memory: Memory, complete: int, site: Site) -> Banks:
    """Fetch the step's channel groups and spread them over the lanes.

    Args:
        complete: the last step whose writes the load is certain to see.

    Raises:
        InputError: the tile does not fit the banks, or two different codes fall on one cell.
    """
    array, d = layer.array, layer.d
    rows, cols, groups = int(s.rows), int(s.cols), int(s.groups)
    if min(rows, cols, groups) < 1:
        raise site.fault(f"an empty input tile: {groups} groups of {rows} × {cols}")
    per_chunk, pitch, chunk_cells = int(d.groups_per_chunk), int(d.pitch), int(d.chunk_cells)
    chunks = -(-groups // per_chunk)
    depth = (chunks - 1) * chunk_cells + (rows - 1) * pitch + cols
    if depth > array.bank_depth:
        raise site.fault(f"the input tile needs {depth} cells of a bank; the array has {array.bank_depth}")

    tile, planes, window = _fetch(layer, s, memory, complete, site)
    cells = np.zeros((array.ic, depth), dtype=np.float32)
    defined = np.zeros((array.ic, depth), dtype=np.bool_)
    overlapping = (rows > 1 and pitch < cols) or (chunks > 1 and chunk_cells < (rows - 1) * pitch + cols)
    first = np.arange(chunks, dtype=np.int64) * per_chunk
    in_chunk = np.minimum(per_chunk, groups - first)
    for lane in range(array.ic):
        codes = tile[first + lane // isa.GROUP % in_chunk, :, :, layer.lane_byte[lane]]
        view = _chunk_view(cells[lane], codes.shape, chunk_cells, pitch)
        view[...] = codes
        _chunk_view(defined[lane], codes.shape, chunk_cells, pitch)[...] = True
        if overlapping and not np.array_equal(view, codes):
            raise site.fault(f"rows of pitch {pitch} and chunks of {chunk_cells} cells put different codes on one cell")
    return Banks(cells, None if defined.all() else defined, planes, window)


def _fetch(
    layer: Layer, s: isa.StepDescriptor, memory: Memory, complete: int, site: Site
) -> tuple[NDArray[np.int8], tuple[int, ...], tuple[slice, slice]]:
    """int8 [groups, rows, cols, 8] with ``pad_value`` outside the image, the planes read, and which part of them."""
    d = layer.d
    rows, cols, groups, y0, x0 = int(s.rows), int(s.cols), int(s.groups), int(s.y0), int(s.x0)
    height, width = layer.input.height, layer.input.width
    top, bottom = _clip(y0, 0, height), _clip(y0 + rows, 0, height)
    left, right = _clip(x0, 0, width), _clip(x0 + cols, 0, width)
    window = (slice(top, bottom), slice(left, right))
    table = memory.table(int(d.group_table) + int(s.first_group), groups, site, "the group table")
    tile = np.full((groups, rows, cols, isa.GROUP), int(d.pad_value), dtype=np.int8)
    planes = tuple(entry & 0xFFFFFFFF for entry in table.tolist())
    if top < bottom and left < right:
        inside = tile[:, top - y0 : bottom - y0, left - x0 : right - x0]
        late = memory.overtakes(np.array(planes, dtype=np.int64), layer.input, window, complete).tolist()
        for group, plane in enumerate(planes):
            before = complete if late[group] else None
            inside[group] = memory.pixels(plane, layer.input, window, site, before)
    return tile, planes, window


def _chunk_view(bank: NDArray[np.generic], shape: tuple[int, ...], chunk_cells: int, pitch: int) -> NDArray[np.generic]:
    """The cells of one bank as [chunks, rows, cols]; the caller has checked that they lie inside it."""
    return as_strided(bank, shape, (chunk_cells * bank.itemsize, pitch * bank.itemsize, bank.itemsize))


def _clip(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
