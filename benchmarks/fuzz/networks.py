"""The networks whose programs are mutated: small, and between them every part of the engine's contract in use."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.cli.app import run_cli

Weights = NDArray[np.float32]


class Net:
    """An ONNX model under construction; tensors are named by what makes them."""

    def __init__(self, seed: int, channels: int, size: int, width: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = (1, channels, size, width or size)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.last, self.channels = "x", channels

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, *more: str, of: str = "", **attributes: object) -> str:
        """A node that reads ``of`` (the tensor before it) and ``more``."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [of or self.last, *more], [name], name=name, **attributes))
        self.last = name
        return name

    def conv(self, out: int, kernel: int = 3, *, weights: Weights | None = None, of: str = "", **more: object) -> str:
        groups = int(str(more.get("group", 1)))
        shape = (out, self.channels // groups, kernel, kernel)
        if weights is None:
            weights = self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        bias = self.constant(self.rng.normal(size=out).astype(np.float32) * 0.1)
        more.setdefault("pads", [kernel // 2] * 4)
        name = self.add("Conv", self.constant(weights.astype(np.float32)), bias, of=of, **more)
        self.channels = out
        return name

    def model(self, *outputs: str) -> onnx.ModelProto:
        names = outputs or (self.last,)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, "fuzz", [given], values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def dense() -> onnx.ModelProto:
    net = Net(1, 3, 10)
    net.conv(24)
    net.add("Relu")
    net.conv(20, strides=[2, 2])
    net.add("GlobalAveragePool")
    net.add("Flatten")
    net.add("Gemm", net.constant(net.rng.normal(size=(10, 20)).astype(np.float32)), transB=1)
    return net.model()


def depthwise() -> onnx.ModelProto:
    net = Net(2, 8, 9)
    net.conv(24, 1)
    net.add("Clip", net.constant(np.float32(0)), net.constant(np.float32(6)))
    net.conv(24, 3, group=24)
    net.add("HardSwish")
    net.conv(40, 5, group=8, strides=[2, 1])
    return net.model()


def residual() -> onnx.ModelProto:
    """An addition, a product with one word for every pixel, a difference, a table after the combination."""
    net = Net(3, 8, 8)
    first = net.conv(16)
    net.add("Relu")
    net.conv(16)
    added = net.add("Add", first)
    net.add("Sigmoid")
    net.add("GlobalAveragePool")
    net.conv(16, 1)
    gate = net.add("Sigmoid")
    net.add("Mul", gate, of=added)
    product = net.last
    net.conv(16, 1, of=product)
    net.add("Sub", product)
    return net.model(net.last, added)


def pool() -> onnx.ModelProto:
    """Maxima, means, columns that are moved, rows that are doubled, an output filled in phases."""
    net = Net(4, 5, 12)
    net.conv(12)
    net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.add("AveragePool", kernel_shape=[2, 2], strides=[1, 1])
    weights = net.constant(net.rng.normal(size=(12, 8, 2, 2)).astype(np.float32) * 0.2)
    net.add("ConvTranspose", weights, kernel_shape=[2, 2], strides=[2, 2])
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    return net.model()


def _kept(net: Net, out: int, kernel: int) -> NDArray[np.bool_]:
    """One kernel position for each input channel, as the guided method leaves it."""
    number = np.arange(kernel * kernel).reshape(kernel, kernel)
    return np.broadcast_to(
        (number == (np.arange(net.channels) % kernel**2)[:, None, None])[None], (out, net.channels, kernel, kernel)
    )


def guided_binary() -> onnx.ModelProto:
    net = Net(5, 16, 8)
    for out in (32, 24):
        kept = _kept(net, out, 3)
        signs = np.where(net.rng.random(kept.shape) < 0.5, -1.0, 1.0)
        net.conv(out, weights=(signs * kept * 0.25).astype(np.float32))
        net.add("Relu")
    net.conv(16, 1, weights=(np.where(net.rng.random((16, 24, 1, 1)) < 0.5, -0.25, 0.25)).astype(np.float32))
    return net.model()


def free() -> onnx.ModelProto:
    """Branches that dropped channels of a stream and are spread over it again, and scattered zero weights."""
    net = Net(6, 8, 8)
    stream = net.conv(32)
    for branch in range(2):
        kept = sorted(net.rng.permutation(32)[:12].tolist())
        index = np.full(32, len(kept), dtype=np.int64)
        index[kept] = np.arange(len(kept))
        weights = net.rng.normal(size=(12, 32, 3, 3)) * 0.1 * (net.rng.random((12, 32, 3, 3)) < 0.2)
        net.channels = 32
        net.conv(12, weights=weights.astype(np.float32), of=stream)
        net.add("Concat", net.constant(np.zeros((1, 1, 8, 8), dtype=np.float32)), axis=1)
        net.add("Gather", net.constant(index), axis=1)
        net.add("Add", stream)
        stream = net.add("Relu") if branch else net.last
    return net.model()


def host_steps() -> onnx.ModelProto:
    net = Net(7, 4, 8)
    net.conv(12)
    net.add("LRN", size=3)
    net.conv(16, strides=[2, 2])
    net.add("LRN", size=5)
    net.conv(8, 1)
    net.add("Relu")
    return net.model()


def tiles() -> onnx.ModelProto:
    """Maps that take several steps, in rows and in columns, the later ones of which wait for the earlier."""
    net = Net(8, 3, 4, 1100)
    first = net.conv(16)
    net.conv(16)
    net.add("Add", first)
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(8, 5)
    return net.model()


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[str, ...]]] = {
    "dense": (dense, ()),
    "depthwise": (depthwise, ()),
    "residual": (residual, ()),
    "pool": (pool, ()),
    "guided_binary": (guided_binary, ()),
    "free": (free, ()),
    "host_steps": (host_steps, ()),
    "tiles": (tiles, ()),
    "batch": (dense, ("--batch", "3")),
    "batch_residual": (residual, ("--batch", "2")),
    "dense_zu": (dense, ("--board", "zcu104", "--array", "zu-1024")),
    "free_zu": (free, ("--board", "zcu104", "--array", "zu-1024")),
}
"""Builder of each model, and the options that it is compiled with."""


def compiled(name: str, folder: Path) -> Path:
    """The artifact of a network, compiled by the command; what is in ``folder`` already is taken as it is."""
    artifact = folder / f"{name}.ppr"
    if artifact.is_file():
        return artifact
    build, options = NETWORKS[name]
    model, images = build(), folder / f"{name}.npy"
    onnx.save(model, folder / f"{name}.onnx")
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    np.save(images, np.random.default_rng(0).normal(size=(6, *shape[1:])).astype(np.float32))
    arguments = [str(folder / f"{name}.onnx"), "--calibration", str(images), *options]
    with contextlib.redirect_stdout(io.StringIO()):
        code = run_cli(["compile", *arguments, "-o", str(artifact)])
    assert code == 0, f"{name} does not compile"
    return artifact
