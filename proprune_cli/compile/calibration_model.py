"""The canonical float graph as an ONNX model with every tensor as an output, for ONNX Runtime to run on a batch."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.graph import Add, Conv, Graph, MaxPool, Node, Relu

OPSET = 13
IR_VERSION = 8
"""Old enough for the runtimes that boards and older installations carry."""


def to_float_onnx(graph: Graph) -> onnx.ModelProto:
    """An ONNX model of a canonical graph: symbolic batch, outputs are all tensors in the order of the nodes.

    Raises:
        UnsupportedError: the graph is not canonical.
    """
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    for node in graph.nodes:
        result = node.y + "/linear" if isinstance(node, Conv | Add | MaxPool) and node.relu else node.y
        nodes.append(_node(node, result, weights))
        if result != node.y:
            nodes.append(helper.make_node("Relu", [result], [node.y], name=node.name + "/relu"))
    x = helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, ["N", *graph.tensors[graph.input]])
    outputs = [
        helper.make_tensor_value_info(node.y, TensorProto.FLOAT, ["N", *graph.tensors[node.y]]) for node in graph.nodes
    ]
    body = helper.make_graph(nodes, graph.name, [x], outputs, weights)
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="proprune"
    )


def _node(node: Node, y: str, weights: list[onnx.TensorProto]) -> onnx.NodeProto:
    if isinstance(node, Conv):
        names = [node.name + "/weight", node.name + "/bias"]
        weights.extend(numpy_helper.from_array(a, n) for a, n in zip((node.weight, node.bias), names, strict=True))
        return helper.make_node(
            "Conv",
            [node.x, *names],
            [y],
            name=node.name,
            kernel_shape=list(node.weight.shape[2:]),
            strides=node.stride,
            pads=node.pads,
            dilations=node.dilation,
            group=node.groups,
        )
    if isinstance(node, MaxPool):
        return helper.make_node(
            "MaxPool",
            [node.x],
            [y],
            name=node.name,
            kernel_shape=node.kernel,
            strides=node.stride,
            pads=node.pads,
            dilations=node.dilation,
        )
    if isinstance(node, Add):
        return helper.make_node("Add", [node.a, node.b], [y], name=node.name)
    if isinstance(node, Relu):
        return helper.make_node("Relu", [node.x], [y], name=node.name)
    raise UnsupportedError(
        f"{type(node).__name__} {node.name!r} is not in canonical form",
        where=f"node {node.name!r}",
        remedy="call canonicalise() on the graph before quantising it",
    )
