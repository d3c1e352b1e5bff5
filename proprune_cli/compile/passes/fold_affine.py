"""Batch normalisation folds into the convolution before it, where nothing else reads that convolution's result.

Handled: Conv or ConvTranspose then Affine, chains of them, Affine then Affine. Left alone: an Affine after anything
else, or after a tensor with other readers (``convert_affine`` makes a convolution of it).
Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", equation 14: ``w' = scale * w``, ``b' = scale * b + shift``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proprune_cli.compile.passes.base import Pass
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Affine, AveragePool, Conv, ConvTranspose, Gemm, Graph, Node


def _fold(before: Conv | ConvTranspose | Affine, affine: Affine) -> Conv | ConvTranspose | Affine:
    scale, shift = affine.scale.astype(np.float64), affine.shift.astype(np.float64)
    if isinstance(before, Affine):
        slope, offset = before.scale * scale, before.shift * scale + shift
        return replace(before, y=affine.y, scale=slope.astype(np.float32), shift=offset.astype(np.float32))
    if isinstance(before, ConvTranspose):
        # Filter g * n + j of n per group lies in column j of the rows of group g.
        per_group = before.weight.shape[1]
        rows = np.repeat(scale.reshape(before.groups, per_group), len(before.weight) // before.groups, axis=0)
        weight = before.weight * rows[:, :, None, None]
        before = replace(before, keeps_scale=False)
    else:
        weight = before.weight * scale[:, None, None, None]
    bias = before.bias * scale + shift
    return replace(before, y=affine.y, weight=weight.astype(np.float32), bias=bias.astype(np.float32))


def _run(graph: Graph) -> Graph:
    readers = graph.consumers()
    made: dict[str, int] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        at = made.get(node.x) if isinstance(node, Affine) and len(readers[node.x]) == 1 else None
        before = nodes[at] if at is not None else None
        if (
            at is not None
            and isinstance(node, Affine)
            and isinstance(before, Conv | ConvTranspose | Affine)
            and node.x not in graph.returned
        ):
            nodes[at] = _fold(before, node)
            made[node.y] = at
        else:
            made[node.y] = len(nodes)
            nodes.append(node)
    return with_nodes(graph, nodes)


FOLD_AFFINE = Pass("fold-affine", _run, requires=(Gemm, AveragePool))
