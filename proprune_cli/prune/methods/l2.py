"""L2 norm of each filter (He et al. 2018, "Soft Filter Pruning", Eq. 2 with p = 2)."""

from __future__ import annotations

from proprune_cli.channels.dependencies import Group
from proprune_cli.prune.methods.common.base import Context, Method, Scores, filter_norms


def l2(group: Group, context: Context) -> Scores | None:
    """Root of the sum of squared weights."""
    return filter_norms(group, context.tensors, lambda rows: rows.square().sum(dim=1).sqrt())


METHOD = Method(
    name="l2",
    title="Filters with the smallest Euclidean norm go first.",
    source="He et al. 2018, Soft Filter Pruning, Eq. 2 with p = 2",
    use="As l1, where a few large weights should save a filter.",
    importance=l2,
)
