"""The canonical float graph as an ONNX model with every tensor as an output, for ONNX Runtime to run on a batch."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from proprune_cli.compile.qdq.nodes import OnnxBody
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import (
    Activation,
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Graph,
    Host,
    MaxPool,
    Mul,
    Node,
    Pad,
    Relu,
    Select,
    Upsample,
)
from proprune_cli.ops.functions import Function

CLAMPED = (Conv, ConvTranspose, Add, Mul, MaxPool)
"""Kinds of node that may have a ReLU."""


def to_float_onnx(graph: Graph) -> onnx.ModelProto:
    """An ONNX model of a canonical graph: symbolic batch, outputs are all tensors in the order of the nodes.

    Raises:
        UnsupportedError: the graph is not canonical.
    """
    body = OnnxBody()
    for node in graph.nodes:
        clamped = isinstance(node, CLAMPED) and node.relu
        _add(body, node, node.y + "/linear" if clamped else node.y)
        if clamped:
            body.add("Relu", [node.y + "/linear"], node.y, node.name + "/relu")
    x = helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, ["N", *graph.tensors[graph.input]])
    outputs = [
        helper.make_tensor_value_info(node.y, TensorProto.FLOAT, ["N", *graph.tensors[node.y]]) for node in graph.nodes
    ]
    return body.model(graph.name, [x], outputs)


def _add(body: OnnxBody, node: Node, y: str) -> None:
    if isinstance(node, Conv | ConvTranspose):
        parts = [body.constant(f"{node.name}/{what}", a) for what, a in (("weight", node.weight), ("bias", node.bias))]
        window = {"strides": node.stride, "pads": node.pads, "dilations": node.dilation, "group": node.groups}
        if isinstance(node, ConvTranspose):
            window["output_padding"] = node.extra
        kernel = list(node.weight.shape[2:])
        body.add(type(node).__name__, [node.x, *parts], y, node.name, kernel_shape=kernel, **window)
    elif isinstance(node, MaxPool):
        window = {"strides": node.stride, "pads": node.pads, "dilations": node.dilation}
        body.add("MaxPool", [node.x], y, node.name, kernel_shape=node.kernel, **window)
    elif isinstance(node, Add | Mul):
        op = "Mul" if isinstance(node, Mul) else "Sub" if node.subtract else "Add"
        body.add(op, [node.a, node.b], y, node.name)
    elif isinstance(node, Relu):
        body.add("Relu", [node.x], y, node.name)
    elif isinstance(node, Activation):
        body.function(Function(node.op, node.attributes, node.parameters), node.x, y, node.name)
    elif isinstance(node, Concat):
        body.concat(node.xs, y, node.name, node.axis)
    elif isinstance(node, Select):
        body.select(node.x, y, node.name, node.channels)
    elif isinstance(node, Pad):
        body.pad(node.x, y, node.name, node.pads, node.value, node.mode)
    elif isinstance(node, Host):
        body.host(node.model, node.xs, y, node.name)
    elif isinstance(node, Upsample):
        body.upsample(node.x, y, node.name, node.scale)
    else:
        raise UnsupportedError(
            f"{type(node).__name__} {node.name!r} is not in canonical form",
            where=f"node {node.name!r}",
            remedy="call canonicalise() on the graph before quantising it",
        )
