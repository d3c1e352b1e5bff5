"""The expert that learns nothing: the loop model's walk over likely tiles, and the energy model over what it gives.

The figures that it imitates are the loop model's own, so it is as good as its guesses (`tiles`, `connections`, `walk`);
on rows from a board it would be as good as the loop model is of the board.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.memory import Memory
from proprune_cli.predict.base import Arrays, Figure, Predictor
from proprune_cli.predict.columns import Floats, Rows
from proprune_cli.predict.tiles import Lanes, choose
from proprune_cli.predict.walk import steps_of, walk

CYCLES, DDR_BYTES, ISSUED = "walked_cycles", "walked_ddr_bytes", "walked_issued_macs"
"""Columns of passes that `walked` adds."""

_AT_ONCE = 256
"""Rows whose steps are made together."""


def walked(rows: Rows) -> Rows:
    """``rows`` with what the walk gives for each pass: `CYCLES`, `DDR_BYTES` and `ISSUED`."""
    if CYCLES in rows.passes:
        return rows
    cycles, moved, issued = (np.zeros(len(rows.owner)) for _ in range(3))
    for board, array, of_target in rows.targets:
        memory = Memory.of(board, array)
        for begin in range(0, len(of_target), _AT_ONCE):
            at = of_target[begin : begin + _AT_ONCE]
            part = rows.take(at)
            lanes = Lanes.of(part.passes, array)
            steps = steps_of(part.passes, choose(part.passes, array, memory), lanes, array)
            to = np.repeat(rows.starts[at] - part.starts[:-1], np.diff(part.starts)) + np.arange(part.starts[-1])
            cycles[to], moved[to] = walk(part, steps, lanes, array, memory)
            issued[to] = issued_macs(part, lanes, array)
    return replace(rows, passes={**rows.passes, CYCLES: cycles, DDR_BYTES: moved, ISSUED: issued})


def issued_macs(rows: Rows, lanes: Lanes, array: Array) -> Floats:
    """Multiply-accumulates that the array issues for each pass, [passes], its taps taken to be like one another."""
    passes = rows.passes
    pixels = passes["out_h"] * passes["out_w"]
    positions = passes["kernel_h"] * passes["kernel_w"]
    whole = lanes.blocks * lanes.before(lanes.count)
    dense = positions * passes["in_slots"] * passes["out_channels"] * (passes["taps"] / np.maximum(whole, 1))
    # Diagonal: products between all lanes of a chunk and all filters of its block.
    full, rest = np.divmod(passes["out_channels"], array.oc)
    diagonal = positions * (full * array.oc**2 + rest**2)
    return pixels * np.select([passes["kind"] == "dense", passes["kind"] == "diagonal"], [dense, diagonal], 0)


def energy_terms(board: Board, array: Array) -> NDArray[np.float64]:
    """mJ for a cycle while the board waits, for one of the multipliers, for a multiply-accumulate, for a DDR byte."""
    e = board.energy
    return np.array(
        [
            e.static_w.value / (array.clock_mhz * 1e3),
            e.slot_pj.value * array.macs_per_cycle * 1e-9,
            e.mac_pj.value * 1e-9,
            e.ddr_pj_per_byte.value * 1e-9,
        ]
    )


ENERGY_PARTS = ("static", "multipliers clocked", "multiply-accumulates", "DDR")


def figure_of(rows: Rows, figure: Figure, cycles: Floats, ddr_bytes: Floats, issued: Floats) -> Floats:
    """A figure of one image for each pass, [passes], from what all images of a start take."""
    batch = rows["batch"][rows.owner]
    if figure == "latency_ms":
        return cycles / (rows["clock_mhz"][rows.owner] * 1e3 * batch)
    static, slots, macs, ddr = rows.per_row(lambda board, array, _: energy_terms(board, array))[rows.owner].T
    return (cycles * (static + slots) + issued * macs + ddr_bytes * ddr) / batch


class Analytic(Predictor):
    """See this module. Only its interval is fitted."""

    name = "expert"

    def _fit(self, rows: Rows) -> None:
        pass

    def _values(self, rows: Rows, figure: Figure) -> Floats:
        rows = walked(rows)
        return rows.sums(figure_of(rows, figure, *(rows.passes[n] for n in (CYCLES, DDR_BYTES, ISSUED))))

    def _parts(self, row: Rows, figure: Figure) -> dict[str, float]:
        row = walked(row)
        cycles, ddr, issued = (row.passes[n] for n in (CYCLES, DDR_BYTES, ISSUED))
        return parts_of_passes(row, figure_of(row, figure, cycles, ddr, issued))

    def _arrays(self) -> Arrays:
        return {}

    def _restore(self, arrays: Arrays) -> None:
        pass


def parts_of_passes(row: Rows, values: Floats) -> dict[str, float]:
    """Figures of the passes of one row by name; passes of one name add up."""
    parts: dict[str, float] = {}
    for name, value in zip(row.passes["name"].tolist(), values.tolist(), strict=True):
        parts[str(name)] = parts.get(str(name), 0.0) + value
    return parts
