"""The ``onnx`` package's light models: real topologies whose constant weights become seeded random ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

NAMES = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)

Weight = NDArray[np.float32]


def light_model(name: str, seed: int = 0) -> onnx.ModelProto:
    """The model with its ``ConstantOfShape`` weights replaced by random initializers of the scale of trained ones.

    Convolutions get He's scale, so that activations neither die out nor grow; batch normalisation statistics near 0
    and 1. Where a residual sum or a per-channel scaling follows, the variance stays within a few powers of two.
    """
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    rng = np.random.default_rng(seed)
    graph = model.graph
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants = {
        node.output[0]: tuple(int(n) for n in shapes[node.input[0]])
        for node in graph.node
        if node.op_type == "ConstantOfShape"
    }
    random = {name: _weight(rng, role, constants[name]) for name, role in _roles(graph, set(constants))}
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in random.items())
    return model


def noise(count: int, seed: int = 1) -> Weight:
    """Images of standard normal noise, float32 [count, 3, 224, 224]."""
    return np.random.default_rng(seed).standard_normal((count, 3, 224, 224), np.float32)


def _roles(graph: onnx.GraphProto, constants: set[str]) -> Iterator[tuple[str, tuple[str, int]]]:
    """Every constant with the operator and the input that it reaches, through Reshape and Unsqueeze too."""
    same: dict[str, str] = {name: name for name in constants}
    for node in graph.node:
        if node.op_type in ("Reshape", "Unsqueeze") and node.input[0] in same:
            same[node.output[0]] = same[node.input[0]]
            continue
        for index, name in enumerate(node.input):
            if name in same:
                yield same[name], (node.op_type, index)


def _weight(rng: np.random.Generator, role: tuple[str, int], shape: tuple[int, ...]) -> Weight:
    match role:
        case ("Conv", 1):
            value = rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        case ("Gemm", 1):
            value = rng.standard_normal(shape, np.float32) * np.float32(shape[-1] ** -0.5)
        case ("BatchNormalization", 1 | 4) | ("Mul", _):
            value = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        case _:
            value = rng.standard_normal(shape, np.float32) * np.float32(0.1)
    return value
