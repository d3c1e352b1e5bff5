"""Quantised layers → engine layers: an addition becomes the output stage of the layer that produces its operand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.quantized import EXPONENT_SPREAD, QAdd, QConv, QGraph, QMaxPool, QRelu
from proprune_cli.ops.taps import Kind


@dataclass(frozen=True)
class Residual:
    """The other operand of a fused addition: ``y = round((q << shift_a) + (r << shift_b) >> shift_y)``."""

    tensor: str
    shift_a: int
    shift_b: int
    shift_y: int


@dataclass(frozen=True)
class EngineLayer:
    """One pass of the engine.

    Attributes:
        kind: "dense" convolution, "diagonal" (depthwise) or "max".
        weight: int8 [out, in, positions] (dense), [channels, positions] (diagonal), None (max).
        bias: int32 [out]; multiplier: int32 [out]; None for max.
        macs: multiply-accumulates that the network asks for.
    """

    name: str
    kind: Kind
    x: str
    y: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    weight: NDArray[np.int8] | None = None
    bias: NDArray[np.int32] | None = None
    multiplier: NDArray[np.int32] | None = None
    relu_before: bool = False
    residual: Residual | None = None
    relu_after: bool = False
    macs: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x, self.residual.tensor) if self.residual else (self.x,)


def _dense(weight: NDArray[np.int8], groups: int) -> NDArray[np.int8]:
    """Expand a grouped weight [out, in/groups, kh, kw] to [out, in, kh*kw]; off-group weights are 0."""
    out_channels, per_group = weight.shape[:2]
    flat = weight.reshape(out_channels, per_group, -1)
    if groups == 1:
        return flat
    full = np.zeros((out_channels, per_group * groups, flat.shape[2]), dtype=np.int8)
    share = out_channels // groups
    for g in range(groups):
        full[g * share : (g + 1) * share, g * per_group : (g + 1) * per_group] = flat[g * share : (g + 1) * share]
    return full


def _lower(layer: QConv | QMaxPool | QRelu, graph: QGraph) -> EngineLayer:
    x, y = graph.tensors[layer.x], graph.tensors[layer.y]
    if isinstance(layer, QRelu):
        return EngineLayer(layer.name, "max", layer.x, layer.y, (1, 1), relu_before=True)
    if isinstance(layer, QMaxPool):
        return EngineLayer(
            layer.name, "max", layer.x, layer.y, layer.kernel, layer.stride, layer.pads, layer.dilation,
            relu_before=layer.relu,
        )  # fmt: skip
    kernel = (layer.weight.shape[2], layer.weight.shape[3])
    diagonal = layer.groups > 1 and layer.groups == x.channels == y.channels
    return EngineLayer(
        layer.name,
        "diagonal" if diagonal else "dense",
        layer.x,
        layer.y,
        kernel,
        layer.stride,
        layer.pads,
        layer.dilation,
        weight=layer.weight.reshape(len(layer.weight), -1) if diagonal else _dense(layer.weight, layer.groups),
        bias=layer.bias,
        multiplier=layer.multiplier,
        relu_before=layer.relu,
        macs=layer.weight.size * y.height * y.width,
    )


def _residual(add: QAdd, own: str, other: str, graph: QGraph) -> Residual:
    """Shifts that put both operands on one scale and the sum on the output's."""
    ey = graph.tensors[add.y].exponent
    a, b = graph.tensors[own].exponent - ey, graph.tensors[other].exponent - ey
    if max(abs(a), abs(b)) > EXPONENT_SPREAD:
        raise UnsupportedError(
            f"the operands' scales differ from the result's by 2**{max(abs(a), abs(b))}",
            where=f"node {add.name!r} (Add)",
            remedy=f"keep them within 2**{EXPONENT_SPREAD}: check the calibration images for extreme values",
        )
    right = max(0, -a, -b)
    return Residual(other, a + right, b + right, right)


def fuse(graph: QGraph) -> tuple[EngineLayer, ...]:
    """Engine layers in execution order.

    An addition joins the layer that produces its later operand when nothing else reads that operand; otherwise it
    becomes a pass of its own.
    """
    producer: dict[str, int] = {layer.y: i for i, layer in enumerate(graph.layers)}
    uses: dict[str, int] = {graph.output: 1}
    for layer in graph.layers:
        for name in layer.inputs:
            uses[name] = uses.get(name, 0) + 1

    out: dict[int, EngineLayer] = {}
    for index, layer in enumerate(graph.layers):
        if not isinstance(layer, QAdd):
            out[index] = _lower(layer, graph)
            continue
        own, other = sorted(layer.inputs, key=lambda name: producer.get(name, -1), reverse=True)
        host = producer.get(own, -1)
        fusable = own != other and uses[own] == 1 and host in out and out[host].residual is None
        if fusable and not isinstance(graph.layers[host], QAdd):
            residual = _residual(layer, own, other, graph)
            out[host] = replace(out[host], y=layer.y, residual=residual, relu_after=layer.relu)
            # A later addition may join this layer's operand order; it is now produced where its host runs.
            producer[layer.y] = host
        else:
            residual = _residual(layer, own, other, graph)
            out[index] = EngineLayer(layer.name, "max", own, layer.y, (1, 1), residual=residual, relu_after=layer.relu)
    return tuple(out[i] for i in sorted(out))
