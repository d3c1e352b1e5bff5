"""Columns of a data set of networks and what they cost: one row for a network on an array, with a list of its passes.

The schema has a version, which goes up when a column changes its meaning. Rows say where their figures come from: a
``predicted`` row by which models, a ``measured`` one by which meter; and which contract of the engine they are for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from proprune_cli.accel import energy, timing
from proprune_cli.errors import UsageError

VERSION = 2

NETWORK: dict[str, tuple[str, str]] = {
    "row": ("int64", "number of the row in its plan"),
    "source": ("string", "`predicted` or `measured`"),
    "model": ("string", "timing and energy models that made the figures, or the meter"),
    "network": ("string", "what the variant was made of, as `--model` names it"),
    "family": ("string", "architectures of one kind"),
    "method": ("string", "how it was pruned"),
    "share": ("float64", "filters that stay, of those that could go"),
    "height": ("int32", "rows of an image"),
    "width": ("int32", "columns of an image"),
    "board": ("string", "whose memory and power are assumed"),
    "array": ("string", "the engine's array"),
    "contract": ("string", "digest of the array's contract"),
    "batch": ("int32", "images per start"),
    "clock_mhz": ("float64", "engine clock, MHz"),
    "macs": ("int64", "dense multiply-accumulates of one start"),
    "nonzero_macs": ("int64", "those with a weight that is not zero"),
    "issued_macs": ("int64", "those that the array issues"),
    "useful_macs": ("int64", "issued ones that the network asks for"),
    "params": ("int64", "weights, zeros included"),
    "cycles": ("int64", "of the engine clock, of one start"),
    "ddr_bytes": ("int64", "that DDR is kept busy for, of one start"),
    "latency_ms": ("float64", "of one image, its share of a start"),
    "energy_mj": ("float64", "of one image: the sum of the four parts"),
    "static_mj": ("float64", "whole-board static power over the latency"),
    "mac_mj": ("float64", "multiply-accumulates issued"),
    "slot_mj": ("float64", "multipliers clocked, with work or without"),
    "ddr_mj": ("float64", "bytes of DDR"),
}
"""Name → type and meaning."""

LAYER: dict[str, tuple[str, str]] = {
    "name": ("string", "of the pass"),
    "kind": ("string", "`dense`, `diagonal` or `max`: how the engine walks it"),
    "twin": ("bool", "repeats the weights of an earlier pass for another image of the batch"),
    "in_channels": ("int32", ""),
    "in_slots": ("int32", "input channels as the lanes see them, gaps included"),
    "out_channels": ("int32", ""),
    "kernel_h": ("int16", ""),
    "kernel_w": ("int16", ""),
    "stride_h": ("int16", ""),
    "stride_w": ("int16", ""),
    "dilation_h": ("int16", ""),
    "dilation_w": ("int16", ""),
    "pad_h": ("int32", "rows of padding above the input"),
    "pad_w": ("int32", "columns of padding left of it"),
    "in_h": ("int32", "rows of the input"),
    "in_w": ("int32", ""),
    "out_h": ("int32", "rows that it computes"),
    "out_w": ("int32", ""),
    "first_h": ("int32", "first row of its planes that it fills"),
    "step_h": ("int32", "every how many rows of its planes it fills"),
    "step_w": ("int16", "every how many columns of its planes it fills"),
    "residual": ("bool", "the output stage reads another operand"),
    "broadcast": ("bool", "one pixel of which serves all"),
    "lookup": ("bool", "a table is applied"),
    "host_before": ("bool", "the engine stops for the processor just before"),
    "tensor": ("int32", "the tensor that it writes: number of the first pass that does"),
    "tensor_words": ("int64", "of that tensor, 8 bytes each"),
    "outside": ("bool", "the tensor is an output, or the processor reads it"),
    "inputs": ("ints", "tensors whose channel groups it reads, in their order; -1: not written by a pass"),
    "input_groups": ("ints", "channel groups of each"),
    "input_row": ("ints", "row of each at which its input begins"),
    "operands": ("ints", "tensors that the output stage reads, likewise"),
    "operand_row": ("ints", "row of each at which they begin"),
    "blocks": ("int32", "blocks of output channels"),
    "chunks": ("int32", "chunks of input channels"),
    "taps": ("int64", "that are walked for each pixel"),
    "fresh_taps": ("int64", "of them those that bring weights"),
    "binary_taps": ("int64", "of these those whose weights are of one bit"),
    "macs": ("int64", "dense multiply-accumulates"),
    "issued_macs": ("int64", ""),
    "useful_macs": ("int64", ""),
    "cycles": ("int64", "from the end of the pass before to its own"),
    "iterations": ("int64", "cycles in which the array works"),
    "ddr_bytes": ("int64", ""),
    "steps": ("int32", "of the tiling that was chosen"),
}
"""The same of each pass, in the column ``layers``; ``ints`` are lists of whole numbers."""

FLAT = {name: declared for name, declared in LAYER.items() if declared[0] != "ints"}
LISTS = tuple(name for name in LAYER if name not in FLAT)

LABELS = ("cycles", "iterations", "ddr_bytes", "steps", "issued_macs", "useful_macs")
"""Columns of passes that are known once they are scheduled, and are no input of a predictor."""


def metadata() -> dict[str, str]:
    """What the figures of a file depend on."""
    return {
        "proprune.schema": str(VERSION),
        "proprune.timing_model": timing.MODEL,
        "proprune.energy_model": energy.MODEL,
    }


def schema() -> Any:
    """The Parquet schema.

    Raises:
        UsageError: pyarrow is not installed.
    """
    pa = arrow()
    types = {"string": pa.string(), "bool": pa.bool_(), "float64": pa.float64()}
    types |= {name: getattr(pa, name)() for name in ("int16", "int32", "int64")}
    types["ints"] = pa.list_(pa.int32())
    layer = pa.struct([pa.field(name, types[kind]) for name, (kind, _) in LAYER.items()])
    fields = [pa.field(name, types[kind]) for name, (kind, _) in NETWORK.items()]
    return pa.schema([*fields, pa.field("layers", pa.list_(layer))], metadata=metadata())


def arrow() -> Any:
    """The package pyarrow.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ImportError as error:
        raise UsageError(
            "data sets are Parquet files, and the package pyarrow is not installed",
            where="proprune dataset",
            remedy="pip install 'proprune[predict]'",
        ) from error
