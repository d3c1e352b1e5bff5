"""A padding becomes the padding of the layers that read it, where theirs means the same.

Handled: readers that are Conv or AveragePool take zeros over; those that are MaxPool take what can never win, which
their own padding does not either; a Pad of a Pad of the same value that only grows. Left alone: crops, other values and
modes, other readers (max pooling of zeros among them, for a zero may win).
"""

from __future__ import annotations

from dataclasses import replace

from proprune_cli.compile.passes.base import Pass
from proprune_cli.compile.passes.drop_dead import DROP_DEAD
from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import AveragePool, Conv, Graph, Identity, Node, Pad
from proprune_cli.ir.nodes import MaxPool
from proprune_cli.ir.window import Pads
from proprune_cli.ops.pool import touches

NEVER_WINS = -1e4
"""A padding of this or less stands for minus infinity before a max pooling: -1e4 and float16's least are common."""

LARGEST = 2.0**60
"""No tensor holds more than this in magnitude; calibration refuses it too."""


def _run(graph: Graph) -> Graph:
    pads: dict[str, Pad] = {}
    kept: list[Node] = []
    for original in graph.nodes:
        node, before = original, pads.get(original.inputs[0])
        if isinstance(node, Pad):
            same = before is not None and (node.value, node.mode, before.mode) == (before.value, "constant", "constant")
            if before is not None and same and min(node.pads) >= 0:
                node = replace(node, x=before.x, pads=_sum(before.pads, node.pads))
            if min(node.pads) >= 0 and node.mode == "constant":
                pads[node.y] = node
        elif before is not None and before.value == 0.0 and isinstance(node, Conv | AveragePool):
            window = replace(node.window, pads=_sum(before.pads, node.window.pads))
            # ONNX has no pooling with a padding as large as its window.
            if isinstance(node, Conv) or all(pad < window.kernel[i % 2] for i, pad in enumerate(window.pads)):
                node = replace(node, x=before.x, window=window)
        elif before is not None and before.value <= NEVER_WINS and isinstance(node, MaxPool):
            window = replace(node.window, pads=_sum(before.pads, node.window.pads))
            merged_size = graph.tensors[before.x][1:]
            # A window that lies in the padding alone would have nothing to choose from.
            small = all(pad < window.kernel[i % 2] for i, pad in enumerate(window.pads))
            if small and all(touches(merged_size[i], window, i) for i in (0, 1)):
                node = replace(node, x=before.x, window=window)
        kept.append(node)
    merged = DROP_DEAD.run(with_nodes(graph, kept))
    for node in merged.nodes:
        if isinstance(node, Pad) and abs(node.value) > LARGEST:
            raise UnsupportedError(
                f"Pad {node.name!r} pads with {_shown(node.value)}, which int8 codes cannot hold beside the image",
                where=f"node {node.name!r} (Pad)",
                remedy="let max poolings alone read it, none of whose windows lies in the padding; else pad with a "
                "number of the image's range",
            )
    return merged


def _shown(value: float) -> str:
    """A number; the largest of float32 stands for infinity."""
    infinite = abs(value) > 3.4e38
    return ("-" if value < 0 else "") + "infinity" if infinite else f"{value:g}"


def _sum(a: Pads, b: Pads) -> Pads:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


MERGE_PAD = Pass("merge-pad", _run, requires=(Identity,))
