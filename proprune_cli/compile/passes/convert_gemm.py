"""A fully connected layer is a convolution whose kernel is the whole image."""

from __future__ import annotations

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Conv, Gemm, Graph, Node, Reshape
from proprune_cli.ir.nodes import Shape
from proprune_cli.ir.window import Window


def _convert(node: Gemm, x: Shape) -> Conv:
    # Row-major [out, C*H*W] is [out, C, H, W]: a flatten keeps the order.
    return Conv(node.name, node.x, node.y, node.weight.reshape(-1, *x), node.bias, Window.over(x[1:]))


def _run(graph: Graph) -> Graph:
    nodes: list[Node] = [
        _convert(node, graph.tensors[node.x]) if isinstance(node, Gemm) else node for node in graph.nodes
    ]
    return with_nodes(graph, nodes)


CONVERT_GEMM = Pass("convert-gemm", _run, requires=(Reshape,), ensures=(Gemm,))
