"""What the timing model predicts for a network on every array, and the figures on record in ``golden_metrics.json``."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.networks import Network
from proprune_cli.accel.array import array_names, load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.lower.dense import network_products
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.quantized import QGraph
from proprune_cli.work.macs import utilisation

GOLDEN = Path(__file__).parent / "golden_metrics.json"

Metrics = dict[str, dict[str, int]]
"""Network → array → predicted cycles."""


@dataclass(frozen=True)
class Prediction:
    """One network on one array.

    Attributes:
        cycles, latency_ms: of one start. macs: dense multiply-accumulates of all images.
        utilisation: as `proprune_cli.work.macs` defines it.
        spatial_utilisation: the same over the layers that make more than one pixel (all but fully connected ones).
    """

    array: str
    board: str
    cycles: int
    latency_ms: float
    macs: int
    utilisation: float
    spatial_utilisation: float


def quantised(network: Network) -> QGraph:
    """The network with seeded random weights, calibrated on two images of noise."""
    return quantise(canonicalise(import_onnx(network.onnx_model())), network.images(2))[0]


def predict(graph: QGraph, array_name: str, batch: int = 1) -> Prediction:
    """Lower ``graph`` and estimate the program for ``batch`` images, on the first board that has the array's part."""
    array = load_array(array_name)
    board = next(b for b in map(load_board, board_names()) if b.part == array.part)
    memory = Memory.of(board, array)
    program, layers = lower(graph, array, memory, batch)
    timing = estimate(program, array, memory)
    useful = [array_macs(t, array).useful for t in layers]
    spatial = [
        (done, predicted.cycles)
        for t, done, predicted in zip(layers, useful, timing.layers, strict=True)
        if np.max(np.asarray(t.tiling.steps.tile_height) * np.asarray(t.tiling.steps.tile_width)) > 1
    ]
    return Prediction(
        array=array_name,
        board=board.name,
        cycles=timing.cycles,
        latency_ms=timing.latency_ms,
        macs=network_products(graph).dense * batch,
        utilisation=utilisation(sum(useful), timing.cycles, array.macs_per_cycle),
        spatial_utilisation=sum(m for m, _ in spatial) / (sum(c for _, c in spatial) * array.macs_per_cycle),
    )


def predict_all(graph: QGraph) -> dict[str, Prediction]:
    """A prediction for every array."""
    return {name: predict(graph, name) for name in array_names()}


def read_golden() -> Metrics:
    """The figures on record."""
    return json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}


def record(network: str, cycles: dict[str, int]) -> None:
    """Put one network's figures on record; several processes may do so at once."""
    with GOLDEN.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        metrics: Metrics = json.loads(text) if text else {}
        metrics[network] = cycles
        file.truncate(0)
        file.write(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
