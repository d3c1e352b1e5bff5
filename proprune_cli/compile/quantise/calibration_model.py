"""The canonical float graph as an ONNX model with every tensor as an output, for ONNX Runtime to run on a batch."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper
from typing_extensions import assert_never

from proprune_cli.compile.qdq.nodes import OnnxBody, window_attributes
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
from proprune_cli.ops.functions import Function


def to_float_onnx(graph: Graph) -> onnx.ModelProto:
    """An ONNX model of a canonical graph: symbolic batch, outputs are all tensors in the order of the nodes.

    Raises:
        UnsupportedError: the graph is not canonical.
    """
    body = OnnxBody()
    for node in graph.nodes:
        _add(body, node, node.y + "/linear" if node.clamped else node.y)
        if node.clamped:
            body.add("Relu", [node.y + "/linear"], node.y, node.name + "/relu")
    x = helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, ["N", *graph.tensors[graph.input]])
    outputs = [
        helper.make_tensor_value_info(node.y, TensorProto.FLOAT, ["N", *graph.tensors[node.y]]) for node in graph.nodes
    ]
    return body.model(graph.name, [x], outputs)


def not_canonical(node: Node) -> UnsupportedError:
    """The error for a kind of node that the passes should have removed."""
    return UnsupportedError(
        f"{type(node).__name__} {node.name!r} is not in canonical form",
        where=f"node {node.name!r} ({type(node).__name__})",
        remedy="call canonicalise() on the graph before quantising it",
    )


def _add(body: OnnxBody, node: Node, y: str) -> None:
    match node:
        case Conv() | ConvTranspose():
            parts = [body.constant(f"{node.name}/{what}", array) for what, array, _ in node.weights()]
            window = {**window_attributes(node.window), "group": node.groups}
            if isinstance(node, ConvTranspose):
                window["output_padding"] = node.extra
            body.add(type(node).__name__, [node.x, *parts], y, node.name, **window)
        case Activation():
            body.function(Function(node.op, node.attributes, node.parameters), node.x, y, node.name)
        case Pad():
            body.pad(node.x, y, node.name, node.pads, node.value, node.mode)
        case MaxPool() | Add() | Mul() | Relu() | Concat() | Select() | Upsample() | Host():
            body.shared(node, node.inputs, y)
        case Gemm() | Affine() | AveragePool() | Transpose() | Reshape() | Identity():
            raise not_canonical(node)
        case _:
            assert_never(node)
