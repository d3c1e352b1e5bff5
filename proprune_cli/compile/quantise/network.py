"""Post-training int8 quantisation of a canonical graph, with the arithmetic of ``ir/quantized.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from proprune_cli.compile.qdq.export import to_qdq
from proprune_cli.compile.quantise.calibration import (
    FEWEST,
    WORK,
    Calibration,
    calibrate,
    macs_of,
    open_session,
    run_session,
    threads_for,
)
from proprune_cli.compile.quantise.calibration_model import not_canonical
from proprune_cli.compile.quantise.exponents import choose_exponents, legalise
from proprune_cli.compile.quantise.pass_through import nonnegative
from proprune_cli.compile.quantise.signal import WEAK_DB, where_lost
from proprune_cli.compile.quantise.tables import fill_table
from proprune_cli.compile.quantise.weights import QuantisedConv, decibels, quantise_conv, with_bias
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import (
    Activation,
    Affine,
    AveragePool,
    Conv,
    ConvTranspose,
    Gemm,
    Graph,
    Identity,
    Node,
    Pad,
    Reshape,
    Transpose,
)
from proprune_cli.ir.nodes import Add, Concat, Host, MaxPool, Mul, Relu, Select, Upsample
from proprune_cli.ir.quantized import QConvTranspose, QGraph, QLayer, QPad, QTable, QTensor
from proprune_cli.ops.conv_transpose import by_channel, by_filter

F64 = NDArray[np.float64]


DROWNS = 64
"""A constant this many times larger than all values of a tensor leaves them a single code to either side of zero."""


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
        output_sqnr_db: the network's int8 output against its float output, on (some of) the calibration images; of
            several outputs, the worst.
        outputs_db: each output's, by its name.
        lost_at: where an output is not `WEAK_DB` above its error, the first layer that is not either; else empty.
        raised: tensors whose scale had to be widened to keep multipliers and additions within their limits.
    """

    layers: tuple[LayerReport, ...]
    images: int
    bias_correction: bool
    output_sqnr_db: float
    raised: tuple[str, ...]
    outputs_db: dict[str, float] = field(default_factory=dict[str, float])
    lost_at: str = ""

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
    _refuse_drowned(graph, seen)
    wished = choose_exponents(graph, seen)
    exponents, convs = _fit(graph, wished)
    plain = _assemble(graph, exponents, convs)
    better = _corrected(graph, convs, seen, exponents)
    corrected = _assemble(graph, exponents, better)
    judged = min(len(seen.images), max(FEWEST, int(WORK / 2 / max(macs_of(graph), 1))))
    threads = threads_for(graph, judged)
    errors = [_output_errors(candidate, seen, judged, threads) for candidate in (plain, corrected)]
    signals = [float(np.sum(output[:judged].astype(np.float64) ** 2)) for output in seen.outputs]
    helps = _share(errors[1], signals) < _share(errors[0], signals)
    if helps:
        convs = better
    chosen = corrected if helps else plain
    quality = [decibels(signal, error) for signal, error in zip(signals, errors[helps], strict=True)]
    lost = min(quality) < WEAK_DB
    report = QuantReport(
        tuple(_layer_report(name, conv, exponents, seen) for name, conv in convs.items()),
        len(seen.images),
        helps,
        min(quality),
        tuple(name for name in graph.tensors if exponents[name] != wished[name]),
        {output.name: one for output, one in zip(graph.outputs, quality, strict=True)},
        where_lost(graph, replace(chosen, preprocess=None), seen.images) if lost else "",
    )
    return chosen, report


def _refuse_drowned(graph: Graph, seen: Calibration) -> None:
    """Refuse a padding so far from the image's values that codes which hold both hold nothing of the image.

    Raises:
        UnsupportedError: there is one; names the node.
    """
    for node in graph.nodes:
        if not isinstance(node, Pad) or node.mode != "constant" or max(node.pads) <= 0:
            continue
        peak = seen.tensors[node.x].peak
        if peak and abs(node.value) > DROWNS * peak:
            raise UnsupportedError(
                f"Pad {node.name!r} pads with {node.value:g} an image whose values reach {peak:.3g}: int8 codes that "
                "hold the one hold nothing of the other",
                where=f"node {node.name!r} (Pad)",
                remedy="pad with a number of the image's range; minus infinity is for max poolings whose windows all "
                "hold a pixel",
            )


def _fit(graph: Graph, wished: Mapping[str, int]) -> tuple[dict[str, int], dict[str, QuantisedConv]]:
    """Quantise every convolution, raising output exponents until all multipliers fit."""
    unsigned = nonnegative(graph)
    least: dict[str, int] = {}
    while True:
        exponents = legalise(graph, wished, least)
        convs: dict[str, QuantisedConv] = {}
        for node in graph.nodes:
            if not isinstance(node, Conv | ConvTranspose):
                continue
            ex, ey = exponents[node.x], exponents[node.y]
            done = quantise_conv(as_conv(node), node.bias.astype(np.float64), ex, ey, nonnegative=node.x in unsigned)
            if done is None:
                if ey - ex > 32:
                    raise _too_long(node)
                least[node.y] = ey + 1
                break
            convs[node.name] = done
        else:
            return exponents, convs


def as_conv(node: Conv | ConvTranspose) -> Conv:
    """A convolution with the same weights per filter; for a transposed one, the bounds of its longest sums."""
    if isinstance(node, Conv):
        return node
    return Conv(node.name, node.x, node.y, by_filter(node.weight, node.groups), node.bias, node.window, node.groups)


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
        if isinstance(node, Conv | ConvTranspose):
            done = convs[node.name]
            mean = seen.tensors[node.x].mean.reshape(node.groups, -1)
            grouped = done.error.reshape(node.groups, -1, done.error.shape[1])
            shift = np.einsum("goi,gi->go", grouped, mean).reshape(-1)
            if isinstance(node, ConvTranspose):
                # On average an output pixel meets one of this many kernel positions.
                shift = shift / (node.window.stride[0] * node.window.stride[1])
            fixed[node.name] = with_bias(done, node.bias + shift, exponents[node.y]) or done
    return fixed


def _assemble(graph: Graph, exponents: Mapping[str, int], convs: Mapping[str, QuantisedConv]) -> QGraph:
    layers = tuple(_layer(node, exponents, convs) for node in graph.nodes)
    tensors = {
        name: QTensor(name, shape[0], shape[1], shape[2], exponents[name]) for name, shape in graph.tensors.items()
    }
    return QGraph(graph.name, tensors, layers, graph.input, graph.outputs, graph.sources, graph.preprocess)


def _layer(node: Node, exponents: Mapping[str, int], convs: Mapping[str, QuantisedConv]) -> QLayer:
    match node:
        case Conv():
            return convs[node.name].layer
        case ConvTranspose():
            done = convs[node.name].layer
            return QConvTranspose(
                node.name,
                node.x,
                node.y,
                by_channel(done.weight, node.groups),
                done.bias,
                done.multiplier,
                node.window,
                node.groups,
                relu=node.relu,
            )
        case Activation():
            table = fill_table(node, exponents[node.x], exponents[node.y])
            return QTable(node.name, node.x, node.y, table, node.op, node.attributes, node.parameters)
        case Pad():
            value = int(np.clip(np.rint(np.ldexp(node.value, -exponents[node.y])), -128, 127))
            return QPad(node.name, node.x, node.y, node.pads, value, node.mode)
        case MaxPool() | Add() | Mul() | Relu() | Concat() | Select() | Upsample() | Host():
            return node
        case Gemm() | Affine() | AveragePool() | Transpose() | Reshape() | Identity():
            raise not_canonical(node)
        case _:
            assert_never(node)


def _share(errors: list[float], signals: list[float]) -> float:
    """The errors of all outputs, each as a share of its signal: outputs differ in magnitude and count alike."""
    if len(errors) == 1:
        return errors[0]
    return sum(error / signal if signal else error for error, signal in zip(errors, signals, strict=True))


def _output_errors(candidate: QGraph, seen: Calibration, images: int, threads: int) -> list[float]:
    """Squared error of each of the int8 network's outputs on the first calibration images."""
    # The images of the calibration are preprocessed already.
    plain = replace(candidate, preprocess=None)
    session = open_session(to_qdq(plain).SerializeToString(), threads=threads)
    size = min(images, 64)
    totals = [0.0 for _ in candidate.outputs]
    for at in range(0, images, size):
        size = min(size, images - at)
        answers = run_session(session, None, {candidate.input: seen.images[at : at + size]})
        for number, (given, wanted) in enumerate(zip(answers, seen.outputs, strict=True)):
            part = wanted[at : at + size].reshape(given.shape)
            totals[number] += float(np.sum((given.astype(np.float64) - part) ** 2))
    return totals


def _layer_report(name: str, conv: QuantisedConv, exponents: Mapping[str, int], seen: Calibration) -> LayerReport:
    layer = conv.layer
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


def _too_long(node: Conv | ConvTranspose) -> UnsupportedError:
    products, kind = int(np.prod(as_conv(node).weight.shape[1:])), type(node).__name__
    return UnsupportedError(
        f"{kind} {node.name!r} adds {products} products per output: its accumulator may pass 2**24",
        where=f"node {node.name!r} ({kind})",
        remedy="reduce the layer's inputs, for example by pooling before the fully connected layer",
    )
