"""The int8 reference of a whole quantised network: integers only, one NumPy function per kind of layer.

What runs on the host is ONNX Runtime's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from proprune_cli.errors import InputError
from proprune_cli.ir.nodes import (
    Add as Add,
)
from proprune_cli.ir.nodes import (
    Concat as Concat,
)
from proprune_cli.ir.nodes import (
    Host as Host,
)
from proprune_cli.ir.nodes import (
    MaxPool as MaxPool,
)
from proprune_cli.ir.nodes import (
    Mul as Mul,
)
from proprune_cli.ir.nodes import Relu
from proprune_cli.ir.nodes import (
    Select as Select,
)
from proprune_cli.ir.nodes import (
    Upsample as Upsample,
)
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer, QPad, QTable, QTensor
from proprune_cli.ops.arithmetic import add_reference, mul_reference
from proprune_cli.ops.concat import concat_reference
from proprune_cli.ops.conv import conv_reference
from proprune_cli.ops.conv_transpose import conv_transpose_reference
from proprune_cli.ops.elementwise import relu_reference
from proprune_cli.ops.functions import table_reference
from proprune_cli.ops.host_step import host_reference
from proprune_cli.ops.pad import pad_reference
from proprune_cli.ops.pool import max_pool_reference
from proprune_cli.ops.resize import upsample_reference
from proprune_cli.ops.select import select_reference

Codes = NDArray[np.int8]


def run_layer(layer: QLayer, inputs: tuple[Codes, ...], tensors: Mapping[str, QTensor]) -> Codes:
    """One layer on one image: int8 codes [C, H, W] in, int8 codes out."""
    match layer:
        case QConv():
            return conv_reference(layer, inputs[0])
        case QConvTranspose():
            return conv_transpose_reference(layer, inputs[0], (tensors[layer.y].height, tensors[layer.y].width))
        case MaxPool():
            return max_pool_reference(layer, inputs[0])
        case Add() | Mul():
            ea, eb, ey = (tensors[name].exponent for name in (layer.a, layer.b, layer.y))
            if isinstance(layer, Mul):
                return mul_reference(layer, inputs[0], inputs[1], ea + eb - ey)
            return add_reference(layer, inputs[0], inputs[1], (ea - ey, eb - ey))
        case Relu():
            return relu_reference(inputs[0])
        case QTable():
            return table_reference(layer, inputs[0])
        case Concat():
            return concat_reference(layer, inputs)
        case Select():
            return select_reference(layer, inputs[0])
        case QPad():
            return pad_reference(layer, inputs[0])
        case Upsample():
            return upsample_reference(layer, inputs[0])
        case Host():
            return host_reference(layer, inputs, dict(tensors))
        case _:
            assert_never(layer)


def run_reference(graph: QGraph, x: Codes) -> dict[str, Codes]:
    """Every tensor of the network, by name.

    Args:
        x: int8 codes [N, C, H, W] of the input.

    Returns:
        int8 codes [N, channels, height, width] of every tensor, the input included.

    Raises:
        InputError: ``x`` is not int8, or has another shape than the network's input.
    """
    source = graph.tensors[graph.input]
    expected = (source.channels, source.height, source.width)
    if x.dtype != np.int8 or x.ndim != 4 or x.shape[1:] != expected:
        raise InputError(
            f"the input is {x.dtype} {list(x.shape)}, the network reads int8 N x {' x '.join(map(str, expected))}",
            where=f"input {graph.input!r}",
            remedy="quantise the images and lay them out as batch, channels, height, width",
        )
    images: list[dict[str, Codes]] = []
    for image in x:
        known: dict[str, Codes] = {graph.input: image}
        for layer in graph.layers:
            known[layer.y] = run_layer(layer, tuple(known[name] for name in layer.inputs), graph.tensors)
        images.append(known)
    shapes = {t.name: (0, t.channels, t.height, t.width) for t in graph.tensors.values()}
    if not images:
        return {name: np.zeros(shape, np.int8) for name, shape in shapes.items()}
    return {name: np.stack([known[name] for known in images]) for name in shapes}
