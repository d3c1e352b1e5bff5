"""The order of the passes, and running them with the verifier between."""

from __future__ import annotations

from collections.abc import Sequence

from proprune_cli.compile.passes.base import Pass
from proprune_cli.compile.passes.convert_affine import CONVERT_AFFINE
from proprune_cli.compile.passes.convert_average_pool import CONVERT_AVERAGE_POOL
from proprune_cli.compile.passes.convert_gemm import CONVERT_GEMM
from proprune_cli.compile.passes.drop_dead import DROP_DEAD
from proprune_cli.compile.passes.drop_identity import DROP_IDENTITY
from proprune_cli.compile.passes.drop_reshape import DROP_RESHAPE
from proprune_cli.compile.passes.drop_zero import DROP_ZERO
from proprune_cli.compile.passes.fold_affine import FOLD_AFFINE
from proprune_cli.compile.passes.fold_copy import FOLD_COPY
from proprune_cli.compile.passes.fold_transpose import FOLD_TRANSPOSE
from proprune_cli.compile.passes.fuse_relu import FUSE_RELU
from proprune_cli.compile.passes.match_activation import MATCH_ACTIVATION
from proprune_cli.compile.passes.merge_pad import MERGE_PAD
from proprune_cli.compile.passes.merge_select import MERGE_SELECT
from proprune_cli.compile.passes.sources import inheriting
from proprune_cli.compile.passes.split_stride import SPLIT_STRIDE
from proprune_cli.compile.passes.take_preprocess import TAKE_PREPROCESS
from proprune_cli.ir.graph import Graph, NodeKind
from proprune_cli.ir.verify import InvariantError, verify

LAYOUT: tuple[Pass, ...] = (DROP_IDENTITY, DROP_DEAD, FOLD_TRANSPOSE, DROP_RESHAPE)
"""After these every tensor is channels x height x width."""

CANONICAL: tuple[Pass, ...] = (
    *LAYOUT,
    MATCH_ACTIVATION,
    MERGE_PAD,
    MERGE_SELECT,
    CONVERT_GEMM,
    CONVERT_AVERAGE_POOL,
    FOLD_AFFINE,
    TAKE_PREPROCESS,
    CONVERT_AFFINE,
    FOLD_COPY,
    DROP_ZERO,
    DROP_DEAD,
    FUSE_RELU,
    SPLIT_STRIDE,
)


def run_passes(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """Run ``passes`` in order; the graph is verified before the first and after each.

    Raises:
        UnsupportedError: a pass cannot express what the network has.
        InvariantError: a pass broke the graph (a bug).
    """
    gone: set[NodeKind] = set()
    verify(graph)
    for step in passes:
        missing = set(step.requires) - gone
        if missing:
            raise InvariantError(f"{step.name} runs before {sorted(kind.__name__ for kind in missing)} are gone")
        graph = inheriting(step.run(graph), graph)
        gone.update(step.ensures)
        verify(graph, absent=gone, after=step.name)
    return graph
