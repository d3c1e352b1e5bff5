"""Cycles from shapes alone follow what the compiler and the timing model find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.accel.estimate import Shapes, estimate_cycles
from proprune_cli.accel.timing import Memory
from proprune_cli.compile.lower.engine_layer import EngineLayer, View
from proprune_cli.compile.lower.layer_taps import build_taps
from proprune_cli.compile.lower.tile import choose_tiling
from proprune_cli.ir.quantized import QTensor
from proprune_cli.ir.window import Window
from proprune_cli.work.layer import LayerWork, Unit

ARRAY = load_array("z7020-256")
MEMORY = Memory.planned(bandwidth_gb_s=1.4, latency_ns=300, clock_mhz=100)

# kind, channels, size, out channels, out size, kernel, stride
LAYERS = [
    ("dense", 3, 224, 64, 112, 7, 2),
    ("dense", 64, 56, 64, 56, 3, 1),
    ("dense", 256, 14, 256, 14, 3, 1),
    ("dense", 512, 7, 2048, 7, 1, 1),
    ("dense", 24, 56, 144, 56, 1, 1),
    ("dense", 2048, 1, 1000, 1, 1, 1),
    ("diagonal", 144, 56, 144, 56, 3, 1),
    ("max", 64, 112, 64, 56, 3, 2),
]


def compiled(kind: Unit, channels: int, size: int, out: int, out_size: int, kernel: int, stride: int) -> int:
    rng = np.random.default_rng(0)
    shape = {"dense": (out, channels, kernel * kernel), "diagonal": (channels, kernel * kernel)}.get(kind)
    pad = kernel // 2
    layer = EngineLayer(
        "layer", kind, View.of(QTensor("x", channels, size, size, 0)), "y", out,
        (out_size, out_size), Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad)),
        weight=None if shape is None else rng.integers(1, 100, shape).astype(np.int8),
    )  # fmt: skip
    return choose_tiling(layer, build_taps(layer, ARRAY), ARRAY, MEMORY).timing.cycles


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_layer_by_its_shape_is_close_to_the_compiled_one(layer: tuple[Any, ...]) -> None:
    kind, channels, size, out, out_size, kernel, stride = layer
    work = LayerWork(
        "layer", "max" if kind == "max" else "conv", channels, out, channels if kind == "diagonal" else 1,
        (kernel, kernel), (stride, stride), (size, size), (out_size, out_size), 0,
    )  # fmt: skip
    assert work.unit == kind
    quick = int(estimate_cycles(Shapes.of([work]), ARRAY, MEMORY)[0])
    assert quick == pytest.approx(compiled(*layer), rel=0.15)
