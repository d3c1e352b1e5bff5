"""What the network does to its input alone, a scale and a shift per channel, is done before quantisation instead.

Handled: an Affine that is the only reader of the input. It would take a pass of the engine, and the input's codes would
have to hold the range of the images as they come. Left alone: an Affine beside other readers of the input, or whose
result is an output.
"""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.graph import Affine, AveragePool, Gemm, Graph
from proprune_cli.work.preprocess import Preprocess


def _run(graph: Graph) -> Graph:
    readers = graph.consumers()[graph.input]
    if graph.preprocess is not None or len(readers) != 1 or graph.input in graph.returned:
        return graph
    (first,) = readers
    if not isinstance(first, Affine) or first.y in graph.returned:
        return graph
    nodes = tuple(node.reading({first.y: graph.input}) for node in graph.nodes if node is not first)
    return replace(
        graph,
        nodes=nodes,
        tensors={name: shape for name, shape in graph.tensors.items() if name != first.y},
        preprocess=Preprocess(tuple(map(float, first.scale)), tuple(map(float, first.shift))),
    )


TAKE_PREPROCESS = Pass("take-preprocess", _run, requires=(Gemm, AveragePool))
