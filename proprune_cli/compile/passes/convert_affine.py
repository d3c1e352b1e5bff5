"""A batch normalisation that could not be folded is a depthwise convolution of one tap."""

from __future__ import annotations

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Affine, Conv, Graph
from proprune_cli.ir.window import Window


def _convert(node: Affine) -> Conv:
    channels = node.scale.shape[0]
    return Conv(node.name, node.x, node.y, node.scale.reshape(channels, 1, 1, 1), node.shift, Window(), channels)


def _run(graph: Graph) -> Graph:
    return with_nodes(graph, [_convert(node) if isinstance(node, Affine) else node for node in graph.nodes])


CONVERT_AFFINE = Pass("convert-affine", _run, ensures=(Affine,))
