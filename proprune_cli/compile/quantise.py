"""Post-training int8 quantisation of a canonical graph, with the arithmetic of ``ir/quantized.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.compile.calibration import (
    FEWEST,
    WORK,
    Calibration,
    calibrate,
    macs_of,
    open_session,
    run_session,
    threads_for,
)
from proprune_cli.compile.qdq import to_qdq
from proprune_cli.compile.quantise_exponents import choose_exponents, legalise
from proprune_cli.compile.quantise_weights import QuantisedConv, decibels, quantise_conv, with_bias
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import Add, Conv, Graph, MaxPool, Relu
from proprune_cli.ir.quantized import QAdd, QConv, QGraph, QLayer, QMaxPool, QRelu, QTensor

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class LayerReport:
    """How one convolution was quantised.

    Attributes:
        exponent: of its output tensor.
        limited_channels: scales widened so that the accumulator provably stays below 2**24.
        exact_in_float: every partial sum of a float32 convolution on the dequantised values is provably exact.
        weight_sqnr_db, activation_sqnr_db: signal to quantisation noise of the weights, and of the output tensor's own
            rounding and clipping on the calibration images.
    """

    name: str
    channels: int
    exponent: int
    limited_channels: int
    exact_in_float: bool
    weight_sqnr_db: float
    activation_sqnr_db: float


@dataclass(frozen=True)
class QuantReport:
    """How a network was quantised.

    Attributes:
        images: calibration images that were used.
        bias_correction: whether the corrected biases gave the smaller error, and were kept.
        output_sqnr_db: the network's int8 output against its float output, on (some of) the calibration images.
        raised: tensors whose scale had to be widened to keep multipliers and additions within their limits.
    """

    layers: tuple[LayerReport, ...]
    images: int
    bias_correction: bool
    output_sqnr_db: float
    raised: tuple[str, ...]

    @property
    def limited_channels(self) -> int:
        return sum(layer.limited_channels for layer in self.layers)

    @property
    def exact_in_float(self) -> bool:
        """Whether the float path of ONNX Runtime is provably exact in every layer."""
        return all(layer.exact_in_float for layer in self.layers)


def quantise(graph: Graph, calibration: NDArray[Any]) -> tuple[QGraph, QuantReport]:
    """Quantise a canonical graph.

    Args:
        calibration: float32 [N, C, H, W], prepared as the network's input is.

    Returns:
        The quantised network, and how each layer fared.

    Raises:
        InputError: the calibration images are empty, of another shape or not finite.
        UnsupportedError: the graph is not canonical, or a convolution sums so many products that its accumulator
            cannot be proven to stay below 2**24.
    """
    seen = calibrate(graph, calibration)
    wished = choose_exponents(graph, seen.tensors)
    exponents, convs = _fit(graph, wished)
    plain = _assemble(graph, exponents, convs)
    better = _corrected(graph, convs, seen, exponents)
    corrected = _assemble(graph, exponents, better)
    judged = min(len(seen.images), max(FEWEST, int(WORK / 2 / max(macs_of(graph), 1))))
    threads = threads_for(graph, judged)
    errors = [_output_error(candidate, seen, judged, threads) for candidate in (plain, corrected)]
    helps = errors[1] < errors[0]
    if helps:
        convs = better
    signal = float(np.sum(seen.output[:judged].astype(np.float64) ** 2))
    report = QuantReport(
        tuple(_layer_report(name, conv, exponents, seen) for name, conv in convs.items()),
        len(seen.images),
        helps,
        decibels(signal, min(errors)),
        tuple(name for name in graph.tensors if exponents[name] != wished[name]),
    )
    return (corrected if helps else plain), report


def _fit(graph: Graph, wished: Mapping[str, int]) -> tuple[dict[str, int], dict[str, QuantisedConv]]:
    """Quantise every convolution, raising output exponents until all multipliers fit."""
    unsigned = _nonnegative(graph)
    least: dict[str, int] = {}
    while True:
        exponents = legalise(graph, wished, least)
        convs: dict[str, QuantisedConv] = {}
        for node in graph.nodes:
            if not isinstance(node, Conv):
                continue
            ex, ey = exponents[node.x], exponents[node.y]
            done = quantise_conv(node, node.bias.astype(np.float64), ex, ey, nonnegative=node.x in unsigned)
            if done is None:
                if ey - ex > 32:
                    raise _too_long(node)
                least[node.y] = ey + 1
                break
            convs[node.name] = done
        else:
            return exponents, convs


def _nonnegative(graph: Graph) -> set[str]:
    """Tensors whose codes cannot be negative: clamped by a ReLU, or the maximum over such."""
    found: set[str] = set()
    for node in graph.nodes:
        clamped = isinstance(node, Relu) or (isinstance(node, Conv | Add | MaxPool) and node.relu)
        if clamped or (isinstance(node, MaxPool) and node.x in found):
            found.add(node.y)
    return found


def _corrected(
    graph: Graph, convs: Mapping[str, QuantisedConv], seen: Calibration, exponents: Mapping[str, int]
) -> dict[str, QuantisedConv]:
    """The convolutions with biases that undo the shift of each channel's mean by the rounding of its weights.

    Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", equation 17:
    ``b' = b + (W - W_quantised) E[x]``, with E[x] the mean of each input channel on the calibration images. A layer
    whose bounds leave no room for the new bias keeps the old one.
    """
    fixed: dict[str, QuantisedConv] = {}
    for node in graph.nodes:
        if isinstance(node, Conv):
            done = convs[node.name]
            mean = seen.tensors[node.x].mean.reshape(node.groups, -1)
            grouped = done.error.reshape(node.groups, -1, done.error.shape[1])
            shift = np.einsum("goi,gi->go", grouped, mean).reshape(-1)
            fixed[node.name] = with_bias(done, node.bias + shift, exponents[node.y]) or done
    return fixed


def _assemble(graph: Graph, exponents: Mapping[str, int], convs: Mapping[str, QuantisedConv]) -> QGraph:
    layers: list[QLayer] = []
    for node in graph.nodes:
        if isinstance(node, Conv):
            layers.append(convs[node.name].layer)
        elif isinstance(node, MaxPool):
            window = (node.kernel, node.stride, node.pads, node.dilation)
            layers.append(QMaxPool(node.name, node.x, node.y, *window, relu=node.relu))
        elif isinstance(node, Add):
            layers.append(QAdd(node.name, node.a, node.b, node.y, node.relu))
        else:
            layers.append(QRelu(node.name, node.inputs[0], node.y))
    tensors = {
        name: QTensor(name, shape[0], shape[1], shape[2], exponents[name]) for name, shape in graph.tensors.items()
    }
    return QGraph(graph.name, tensors, tuple(layers), graph.input, graph.output, graph.output_shape)


def _output_error(candidate: QGraph, seen: Calibration, images: int, threads: int) -> float:
    """Squared error of the int8 network's output on the first calibration images."""
    session = open_session(to_qdq(candidate).SerializeToString(), threads=threads)
    size = min(images, 64)
    total = 0.0
    for at in range(0, images, size):
        size = min(size, images - at)
        given = run_session(session, None, {candidate.input: seen.images[at : at + size]})[0]
        wanted = seen.output[at : at + size].reshape(given.shape)
        total += float(np.sum((given.astype(np.float64) - wanted) ** 2))
    return total


def _layer_report(name: str, conv: QuantisedConv, exponents: Mapping[str, int], seen: Calibration) -> LayerReport:
    layer: QConv = conv.layer
    exponent = exponents[layer.y]
    values = seen.tensors[layer.y].samples.astype(np.float64)
    rounded = np.clip(np.rint(values * 2.0**-exponent), -128, 127) * 2.0**exponent
    return LayerReport(
        name,
        len(layer.multiplier),
        exponent,
        conv.limited,
        conv.exact_in_float,
        conv.weight_sqnr_db,
        decibels(float(np.sum(np.square(values))), float(np.sum(np.square(values - rounded)))),
    )


def _too_long(node: Conv) -> UnsupportedError:
    products = int(np.prod(node.weight.shape[1:]))
    return UnsupportedError(
        f"Conv {node.name!r} adds {products} products per output: its accumulator may pass 2**24",
        where=f"node {node.name!r}",
        remedy="reduce the layer's inputs, for example by pooling before the fully connected layer",
    )
