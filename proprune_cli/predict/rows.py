"""The row of a variant: what the loop model says of its program, by `proprune_cli.compile.timed`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np

from proprune_cli.accel import energy, isa, timing
from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.energy import Work, predict_energy
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import LayerTiming
from proprune_cli.compile.lower.engine_layer import View
from proprune_cli.compile.lower.tile import Choices
from proprune_cli.compile.lower.weight_stream import TiledLayer
from proprune_cli.compile.timed import Timed, timed
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph
from proprune_cli.work.macs import ArrayMacs

MODEL = f"{timing.MODEL}, {energy.MODEL}"


def figures(graph: QGraph, board: Board, array: Array, batch: int = 1, known: Choices | None = None) -> dict[str, Any]:
    """Columns of a network that its program decides, see `proprune_cli.predict.schema`; ``layers`` among them.

    Args:
        known: tilings met before with this array and memory, added to.

    Raises:
        DoesNotFitError: a layer fits no tile of the array.
    """
    found = timed(graph, array, Memory.of(board, array), batch, known)
    issued, useful = (sum(getattr(macs, kind) for macs in found.macs) for kind in ("issued", "useful"))
    cycles, ddr = found.timing.cycles, found.timing.ddr_bytes
    parts = {
        term.name: term.energy_mj / batch for term in predict_energy(board, array, Work(cycles, issued, ddr)).terms
    }
    asked = [tiled.layer.asked for tiled in found.layers]
    return {
        "source": "predicted",
        "model": MODEL,
        "height": graph.tensors[graph.input].height,
        "width": graph.tensors[graph.input].width,
        "board": board.name,
        "array": array.name,
        "contract": array.digest,
        "batch": batch,
        "clock_mhz": array.clock_mhz,
        "macs": sum(macs.dense for macs in asked),
        "nonzero_macs": sum(macs.nonzero for macs in asked),
        "issued_macs": issued,
        "useful_macs": useful,
        "params": sum(layer.weight.size for layer in graph.layers if isinstance(layer, QConv | QConvTranspose)),
        "cycles": cycles,
        "ddr_bytes": ddr,
        "latency_ms": found.timing.latency_ms / batch,
        "energy_mj": sum(parts.values()),
        "static_mj": parts["static_w"],
        "mac_mj": parts["mac_pj"],
        "slot_mj": parts["slot_pj"],
        "ddr_mj": parts["ddr_pj_per_byte"],
        "layers": passes(found),
    }


def passes(found: Timed) -> list[dict[str, Any]]:
    """Columns of each pass."""
    stops, graph = set(found.stops), found.graph
    outside = {output.tensor for output in graph.outputs}.union(*(step.xs for step in graph.host))
    tensors: dict[str, int] = {}
    columns: list[dict[str, Any]] = []
    for number, (tiled, took, macs) in enumerate(zip(found.layers, found.timing.layers, found.macs, strict=True)):
        layer = tiled.layer
        written = graph.tensors[layer.y]
        inputs, operands = _read(layer.view, tensors), _read(layer.residual and layer.residual.view, tensors)
        # What it writes is known to the passes after it.
        first = tensors.setdefault(layer.y, number)
        columns.append(
            {
                **_pass(tiled, took, macs),
                "host_before": number in stops,
                "tensor": first,
                "tensor_words": -(-written.channels // isa.GROUP) * written.height * written.width,
                "outside": layer.y in outside,
                "inputs": [tensor for tensor, _, _ in inputs],
                "input_groups": [groups for _, groups, _ in inputs],
                "input_row": [row for _, _, row in inputs],
                "operands": [tensor for tensor, _, _ in operands],
                "operand_row": [row for _, _, row in operands],
            }
        )
    return columns


def _read(view: View | None, tensors: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Tensors whose groups stand side by side in ``view``: number, groups, row at which the view begins."""
    if view is None:
        return []
    rows = view.rows or (0,) * len(view.groups)
    found = groupby((tensors.get(name, -1), view.top + row) for (name, _), row in zip(view.groups, rows, strict=True))
    return [(tensor, len(list(same)), row) for (tensor, row), same in found]


def _pass(tiled: TiledLayer, took: LayerTiming, macs: ArrayMacs) -> dict[str, Any]:
    layer, taps, window = tiled.layer, tiled.taps, tiled.layer.window
    residual = layer.residual
    empty = 0
    if not taps.own_block:
        # A block that has no tap at all starts from its bias by one of zeros.
        empty = int(np.asarray(taps.kept.sum(axis=(0, 1)) == 0).sum())
    return {
        "name": layer.name,
        "kind": layer.kind,
        "twin": layer.twin is not None,
        "in_channels": layer.view.channels,
        "in_slots": layer.in_slots,
        "out_channels": layer.channels,
        "kernel_h": window.kernel[0],
        "kernel_w": window.kernel[1],
        "stride_h": window.stride[0],
        "stride_w": window.stride[1],
        "dilation_h": window.dilation[0],
        "dilation_w": window.dilation[1],
        "pad_h": window.pads[0],
        "pad_w": window.pads[1],
        "in_h": layer.view.height,
        "in_w": layer.view.width,
        "out_h": layer.size[0],
        "out_w": layer.size[1],
        "first_h": layer.output.first[0],
        "step_h": layer.output.step[0],
        "step_w": layer.output.step[1],
        "residual": residual is not None,
        "broadcast": residual is not None and residual.broadcast,
        "lookup": layer.table is not None,
        "blocks": taps.blocks,
        "chunks": taps.layout.chunks,
        "taps": int(taps.kept.sum()) + empty,
        "fresh_taps": int(taps.fresh.sum()) + empty,
        "binary_taps": int(taps.binary.sum()),
        "macs": layer.asked.dense,
        "issued_macs": macs.issued,
        "useful_macs": macs.useful,
        "cycles": took.cycles,
        "iterations": took.iterations,
        "ddr_bytes": took.ddr_bytes,
        "steps": int(tiled.tiling.layer.step_count),
    }
