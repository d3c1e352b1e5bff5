"""What learned predictors see of a pass and of a network: its shape and its array in numbers, never what was scheduled.

Arrays and boards are numbers too, so that one that no row is for can be asked about.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.memory import Memory
from proprune_cli.predict.columns import Floats, Rows

ARRAY = ("ic", "oc", "px", "min_beats", "acc_depth", "bank_depth", "tap_words", "weight_port_words", "scratch_words",
         "bytes_per_cycle", "latency")  # fmt: skip
"""Features of an array with its memory."""


def array_features(rows: Rows) -> Floats:
    """Float64 [rows, `ARRAY`]."""

    def of(_: Board, array: Array, memory: Memory) -> list[float]:
        return [float(getattr(memory if name in ("bytes_per_cycle", "latency") else array, name)) for name in ARRAY]

    return rows.per_row(of)


_NUMBERS = ("in_slots", "out_channels", "kernel_h", "kernel_w", "stride_h", "stride_w", "in_h", "in_w", "out_h",
            "out_w", "step_w", "blocks", "chunks", "taps", "fresh_taps", "binary_taps")  # fmt: skip
_FLAGS = ("twin", "residual", "broadcast", "lookup", "host_before")
_OF_NEIGHBOURS = ("walk", "stored", "weights", "out_h", "diagonal", "maximum")


def ideal_cycles(rows: Rows) -> Floats:
    """Cycles of each pass if every beat of every tap were one, and nothing else took time: its operations, [passes]."""
    passes = rows.passes
    px = rows.per_row(lambda _, array, __: array.px)[rows.owner]
    return np.maximum(passes["out_h"] * passes["out_w"] / px, 1.0) * np.maximum(passes["taps"], 1)


def pass_features(rows: Rows) -> tuple[Floats, list[str]]:
    """Features of each pass, float64 [passes, features], and their names."""
    passes, owner = rows.passes, rows.owner
    arrays = array_features(rows)[owner]
    column = {name: arrays[:, n] for n, name in enumerate(ARRAY)}
    walk = ideal_cycles(rows)
    stored = passes["out_h"] * passes["out_w"] * np.ceil(passes["out_channels"] / 8) * passes["step_w"]
    loaded = passes["in_h"] * passes["in_w"] * np.ceil(passes["in_slots"] / 8)
    weights = (passes["fresh_taps"] - passes["binary_taps"]) * column["tap_words"] + passes["binary_taps"] * (
        column["ic"] * column["oc"] / 64 + 1
    )
    found: dict[str, NDArray[np.float64]] = {name: passes[name].astype(np.float64) for name in (*_NUMBERS, *_FLAGS)}
    found |= {
        "diagonal": (passes["kind"] == "diagonal").astype(np.float64),
        "maximum": (passes["kind"] == "max").astype(np.float64),
        "walk": np.log(walk),
        "stored": np.log(stored),
        "loaded": np.log(loaded),
        "weights": np.log1p(weights),
        "stores to walk": np.log(stored / walk),
        "loads to walk": np.log(loaded / walk),
        "weights to walk": np.log1p(weights / column["weight_port_words"] / walk),
        "bytes to walk": np.log((stored + loaded + weights) * 8 / column["bytes_per_cycle"] / walk),
        "tiles": np.ceil(passes["out_h"] * passes["out_w"] / column["px"] / column["acc_depth"]),
        "input to bank": np.log(loaded * 8 / column["ic"] / column["bank_depth"]),
        "output to scratch": np.log(stored / column["scratch_words"]),
        "input to scratch": np.log(loaded / column["scratch_words"]),
    }
    first = np.zeros(len(owner), dtype=np.bool_)
    first[rows.starts[:-1]] = True
    last = np.zeros_like(first)
    last[rows.starts[1:] - 1] = True
    for name in _OF_NEIGHBOURS:
        values = found[name]
        found[f"{name} before"] = np.where(first, -1.0, np.roll(values, 1))
        found[f"{name} after"] = np.where(last, -1.0, np.roll(values, -1))
    found |= column
    return np.stack(list(found.values()), axis=1), list(found)


def network_features(rows: Rows) -> tuple[Floats, list[str]]:
    """Features of each network, float64 [rows, features], and their names."""
    passes, starts = rows.passes, rows.starts
    arrays = array_features(rows)
    per_pass, names = pass_features(rows)
    column = {name: per_pass[:, n] for n, name in enumerate(names)}
    walk = np.exp(column["walk"])
    total = rows.sums(walk)
    count = np.diff(starts).astype(np.float64)
    bound = np.maximum.reduce(
        [
            walk,
            np.exp(column["stored"]),
            np.exp(column["loaded"]),
            np.expm1(column["weights"]) / column["weight_port_words"],
        ]
    )
    found: dict[str, Floats] = {
        "walk": np.log(total),
        "passes": np.log(count),
        "walk of a pass": np.log(total / count),
        "batch": rows["batch"].astype(np.float64),
        "height": rows["height"].astype(np.float64),
        "width": rows["width"].astype(np.float64),
        "nonzero to dense": np.log(np.maximum(rows["nonzero_macs"], 1) / np.maximum(rows["macs"], 1)),
        "params": np.log(np.maximum(rows["params"], 1)),
        "macs to walk": np.log(np.maximum(rows["macs"], 1) / total),
        "stored to walk": np.log(rows.sums(np.exp(column["stored"])) / total),
        "loaded to walk": np.log(rows.sums(np.exp(column["loaded"])) / total),
        "weights to walk": np.log1p(rows.sums(np.expm1(column["weights"])) / total),
        "bound to walk": np.log(rows.sums(bound) / total),
        "diagonal": rows.sums(walk * column["diagonal"]) / total,
        "maximum": rows.sums(walk * column["maximum"]) / total,
        "pointwise": rows.sums(walk * (passes["kernel_h"] * passes["kernel_w"] == 1)) / total,
        "residual": rows.sums(walk * column["residual"]) / total,
        "strided": rows.sums(walk * (column["step_w"] > 1)) / total,
        "stops": rows.sums(column["host_before"]),
        "small maps": rows.sums(walk * (passes["out_h"] * passes["out_w"] < 64)) / total,
        "input to scratch": rows.sums(walk * column["input to scratch"]) / total,
        "tiles of a pass": rows.sums(column["tiles"]) / count,
    }
    found |= {name: arrays[:, n] for n, name in enumerate(ARRAY)}
    return np.stack(list(found.values()), axis=1), list(found)
