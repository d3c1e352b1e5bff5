"""Average pooling is a depthwise convolution with constant weights.

Batch normalisation right after it folds into those weights later.
"""

from __future__ import annotations

import numpy as np

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import AveragePool, Conv, Graph


def _convert(node: AveragePool, channels: int) -> Conv:
    weight = np.full((channels, 1, *node.window.kernel), 1.0 / node.window.positions, np.float32)
    bias = np.zeros(channels, np.float32)
    return Conv(node.name, node.x, node.y, weight, bias, node.window, channels)


def _run(graph: Graph) -> Graph:
    return with_nodes(
        graph,
        [_convert(node, graph.tensors[node.x][0]) if isinstance(node, AveragePool) else node for node in graph.nodes],
    )


CONVERT_AVERAGE_POOL = Pass("convert-average-pool", _run, ensures=(AveragePool,))
