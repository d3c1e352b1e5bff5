"""Calibration: what the float network computes on example images, sampled per tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from proprune_cli.compile.quantise.calibration_model import to_float_onnx
from proprune_cli.errors import InputError
from proprune_cli.ir.graph import F32, Conv, ConvTranspose, Graph

SAMPLES = 1 << 16
"""Values kept per tensor to choose its scale."""

WORK = 30e9
"""Multiply-accumulates that calibration may spend: some seconds of two cores."""

SMALL_WORK = 100e6
"""Below this many multiply-accumulates a second thread costs more than it gives."""

FEWEST = 8
"""Images used however large the network is."""

CHUNK_BYTES = 128 << 20
"""Activations that one run may return."""


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """What was seen of one tensor.

    Attributes:
        samples: float32 [up to ``SAMPLES``], drawn at random with a fixed seed.
        peak: largest magnitude of all values, not of the samples alone.
        mean: float64 [channels], over all images and pixels.
    """

    samples: F32
    peak: float
    mean: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Statistics of every tensor, the images that were used (preprocessed), and what the float network gave for them.

    ``outputs``: float32 [N, C, H, W], one for each of the graph's outputs.
    """

    tensors: dict[str, TensorStatistics]
    images: F32
    outputs: tuple[F32, ...]


def check_images(images: NDArray[Any], graph: Graph) -> F32:
    """The calibration images as float32.

    Raises:
        InputError: none, of another shape than the network's input, not numbers, or not finite.
    """
    wanted = graph.tensors[graph.input]
    where = "calibration images"
    remedy = f"give a float32 array of shape N x {' x '.join(map(str, wanted))}, prepared as for training"
    if not (np.issubdtype(images.dtype, np.floating) or np.issubdtype(images.dtype, np.integer)):
        raise InputError(f"the calibration images are {images.dtype}, not numbers", where=where, remedy=remedy)
    if images.ndim != 4 or images.shape[1:] != wanted:
        raise InputError(
            f"the calibration images have the shape {list(images.shape)}, the network reads N x {list(wanted)}",
            where=where,
            remedy=remedy,
        )
    if len(images) == 0:
        raise InputError("the calibration set is empty", where=where, remedy=remedy)
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(images, dtype=np.float32)
    bad = int(converted.size - np.count_nonzero(np.isfinite(converted)))
    if bad:
        raise InputError(f"the calibration images have {bad} NaN or infinite values", where=where, remedy=remedy)
    return converted


def macs_of(graph: Graph) -> int:
    """Multiply-accumulates of one image's convolutions."""
    total = 0
    for node in graph.nodes:
        if isinstance(node, Conv):
            total += prod(graph.tensors[node.y]) * prod(node.weight.shape[1:])
        elif isinstance(node, ConvTranspose):
            total += prod(graph.tensors[node.x]) * prod(node.weight.shape[1:])
    return total


def threads_for(graph: Graph, images: int) -> int:
    """Threads worth starting for ``images`` images: 1 for little work, 0 (all cores) for more."""
    return 1 if macs_of(graph) * images < SMALL_WORK else 0


def calibrate(graph: Graph, images: NDArray[Any]) -> Calibration:
    """Run a canonical graph on ``images`` (float32 [N, C, H, W], before preprocessing) and sample every tensor.

    Large sets are thinned evenly so that the run stays within ``WORK``, and split so that memory stays bounded.

    Raises:
        InputError: the images do not fit, or the network computes NaN or infinite values.
    """
    checked = check_images(images, graph)
    if graph.preprocess is not None:
        checked = graph.preprocess.apply(checked)
    budget = max(FEWEST, int(WORK / max(macs_of(graph), 1)))
    if len(checked) > budget:
        checked = checked[np.linspace(0, len(checked) - 1, budget).astype(np.int64)]
    names = list(graph.tensors)
    per_image = 4 * sum(prod(shape) for shape in graph.tensors.values())
    size = max(1, min(len(checked), CHUNK_BYTES // max(per_image, 1)))
    chunks = [checked[at : at + size] for at in range(0, len(checked), size)]
    session = open_session(to_float_onnx(graph).SerializeToString(), threads=threads_for(graph, len(checked)))
    collected = {name: _Collector(-(-SAMPLES // len(chunks))) for name in names}
    outputs: list[list[F32]] = [[] for _ in graph.outputs]
    wanted = [name for name in names if name != graph.input]
    for chunk in chunks:
        values = dict(zip(wanted, run_session(session, wanted, {graph.input: chunk}), strict=True))
        values[graph.input] = chunk
        for name in names:
            collected[name].take(values[name], name)
        for parts, output in zip(outputs, graph.outputs, strict=True):
            parts.append(values[output.tensor])
    statistics = {name: collector.result() for name, collector in collected.items()}
    return Calibration(statistics, checked, tuple(np.concatenate(parts) for parts in outputs))


def open_session(
    model: bytes, *, optimise: bool = True, integer_kernels: bool = False, threads: int = 0
) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU, quiet.

    Args:
        optimise: graph optimisation on or off.
        integer_kernels: let the optimiser fuse int8 convolutions into QLinearConv. On x86 ONNX Runtime does so only
            when told to; otherwise it computes them in float32 on the dequantised values, with the same bytes.
        threads: 0 for one per core; small networks are faster with 1.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = (
        ort.GraphOptimizationLevel.ORT_ENABLE_ALL if optimise else ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.qdqisint8allowed", "1" if integer_kernels else "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(
    session: ort.InferenceSession, outputs: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    """The named outputs (all of them for None) as arrays."""
    return [np.asarray(value) for value in session.run(outputs, dict(feeds))]


class _Collector:
    """Gathers one tensor's statistics over the chunks."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._parts: list[F32] = []
        self._peak = 0.0
        self._sum: NDArray[np.float64] = np.zeros(1)
        self._count = 0
        self._random = np.random.default_rng(0)

    def take(self, value: F32, name: str) -> None:
        peak = max(float(value.max()), -float(value.min()))
        if not np.isfinite(peak) or peak > 2.0**60:
            raise InputError(
                f"the float network computes NaN, infinite or absurdly large values in {name!r}",
                where=f"tensor {name!r}",
                remedy="check the weights and the calibration images: normalise them as for training",
            )
        flat = value.reshape(-1)
        few = flat if flat.size <= self._samples else flat[self._random.integers(0, flat.size, self._samples)]
        self._parts.append(few.copy())
        self._peak = max(self._peak, peak)
        self._sum = self._sum + value.mean(axis=(2, 3), dtype=np.float32).sum(axis=0, dtype=np.float64)
        self._count += len(value)

    def result(self) -> TensorStatistics:
        return TensorStatistics(np.concatenate(self._parts), self._peak, self._sum / self._count)
