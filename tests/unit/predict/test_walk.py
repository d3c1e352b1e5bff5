"""What the expert guesses: tiles that fit and cover, and steps that add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.accel.layer_timing import layer_timing
from proprune_cli.accel.memory import Memory
from proprune_cli.predict.schema import FLAT
from proprune_cli.predict.tiles import Lanes, choose
from proprune_cli.predict.walk import Steps, steps_of


def memory_of(array: str) -> Memory:
    """Of a board that has the array."""
    return Memory.of(load_board("zcu104" if array.startswith("zu") else "pynq-z2"), load_array(array))


Passes = dict[str, NDArray[Any]]


def passes_of(*rows: dict[str, Any]) -> Passes:
    """Columns of passes; what a row does not name is as in a 1×1 convolution of 8 channels over 8×8 pixels."""
    plain: dict[str, Any] = dict.fromkeys(FLAT, 1)
    plain |= {"name": "", "kind": "dense", "in_channels": 8, "out_channels": 8, "in_h": 8, "in_w": 8}
    plain |= dict.fromkeys(("twin", "residual", "broadcast", "lookup", "host_before"), False)
    plain |= dict.fromkeys(("binary_taps", "pad_h", "pad_w"), 0)
    full: list[dict[str, Any]] = []
    for row in rows:
        one = plain | row
        one.setdefault("in_slots", one["in_channels"])
        one["in_slots"] = row.get("in_slots", one["in_channels"])
        one["out_h"], one["out_w"] = row.get("out_h", one["in_h"]), row.get("out_w", one["in_w"])
        full.append(one)
    return {name: np.array([one[name] for one in full]) for name in FLAT}


def drawn(count: int, seed: int, array_name: str) -> Passes:
    """Convolutions with all of their weights, with padding as in a network."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        kernel, stride, size = int(rng.choice([1, 3, 5])), int(rng.choice([1, 1, 2])), int(rng.integers(4, 49))
        kind = str(rng.choice(["dense", "dense", "diagonal", "max"]))
        channels = int(rng.integers(1, 150))
        out = channels if kind != "dense" else int(rng.integers(1, 150))
        made = (size - 1) // stride + 1
        rows.append(
            {
                "kind": kind, "in_channels": channels, "out_channels": out, "kernel_h": kernel, "kernel_w": kernel,
                "stride_h": stride, "stride_w": stride, "in_h": size, "in_w": size, "out_h": made, "out_w": made,
                "pad_h": kernel // 2, "pad_w": kernel // 2,
                "residual": kind == "dense" and bool(rng.random() < 0.3),
            }
        )  # fmt: skip
    passes = passes_of(*rows)
    lanes = Lanes.of(passes, load_array(array_name))
    taps = np.where(lanes.own, 1, lanes.blocks) * lanes.before(lanes.count)
    passes["taps"], passes["fresh_taps"] = taps, np.where(passes["kind"] == "max", 0, taps)
    return passes


def steps(passes: Passes, array_name: str) -> tuple[Steps, Lanes, Any]:
    array = load_array(array_name)
    lanes, tiles = Lanes.of(passes, array), choose(passes, array, memory_of(array_name))
    return steps_of(passes, tiles, lanes, array), lanes, tiles


@pytest.mark.parametrize("array_name", ["z7020-256", "z7020-384", "zu-1024"])
def test_steps_cover_every_pixel_and_walk_every_tap_once(array_name: str) -> None:
    passes, array = drawn(150, 1, array_name), load_array(array_name)
    found, lanes, tiles = steps(passes, array_name)
    assert tiles.fits.all()
    c = found.columns
    of = np.repeat(np.arange(len(lanes.count)), np.diff(found.starts))
    pixels = c["tile_height"] * c["tile_width"]
    # Every group of every output pixel is stored once.
    stored = np.bincount(of, pixels * c["emit_groups"])
    assert (stored == passes["out_h"] * passes["out_w"] * lanes.out_groups).all()
    assert (stored == found.stored).all()
    # Beats of a tile times its taps: each tile walks all taps.
    beats = np.maximum(-(-pixels // array.px), array.min_beats)
    corner = np.zeros(len(of), dtype=np.bool_)
    corner[found.starts[:-1]] = True
    tile = np.cumsum(corner | (np.diff(c["oy0"], prepend=-1) != 0) | (np.diff(c["x0"], prepend=-99) != 0)) - 1
    walked = np.bincount(tile, c["iterations"] / beats)
    assert walked == pytest.approx(passes["taps"][of[np.unique(tile, return_index=True)[1]]])
    # What a step loads fits the banks, and what it sums up the accumulators.
    chunks = np.ceil(c["groups"] / lanes.per_chunk[of])
    assert (c["rows"] * c["cols"] * chunks <= array.bank_depth).all()
    assert (beats <= array.acc_depth).all()


@pytest.mark.parametrize("array_name", ["z7020-256", "zu-1024"])
def test_the_closed_formula_says_what_the_loop_model_says_of_its_tile(array_name: str) -> None:
    passes, array = drawn(150, 2, array_name), load_array(array_name)
    found, _, tiles = steps(passes, array_name)
    errors: list[float] = []
    for n in range(150):
        part = slice(int(found.starts[n]), int(found.starts[n + 1]))
        size, residual = int(passes["in_h"][n]), int(passes["residual"][n])
        layer = isa.LayerDescriptor(in_height=size, in_width=size, in_pitch=size, combine=residual, out_step_x=1)
        columns = {name: column[part] for name, column in found.columns.items()}
        truth = layer_timing("", layer, isa.StepDescriptor(**columns), array, memory_of(array_name)).cycles
        errors.append(float(tiles.cycles[n]) / truth - 1)
    size = np.abs(errors)
    assert np.median(size) < 0.015  # how long single steps wait for others is beyond a closed formula
    assert np.quantile(size, 0.9) < 0.15
