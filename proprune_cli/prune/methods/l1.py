"""L1 norm of each filter (Li et al. 2017, "Pruning Filters for Efficient ConvNets", Section 3.1)."""

from __future__ import annotations

from proprune_cli.channels.dependencies import Group
from proprune_cli.prune.methods.common.base import Context, Method, Scores, filter_norms


def l1(group: Group, context: Context) -> Scores | None:
    """Sum of absolute weights."""
    return filter_norms(group, context.tensors, lambda rows: rows.abs().sum(dim=1))


METHOD = Method(
    name="l1",
    title="Filters with the smallest sum of absolute weights go first.",
    source="Li et al. 2017, Pruning Filters for Efficient ConvNets, Section 3.1",
    use="The default: needs no data, is hard to beat after fine-tuning.",
    importance=l1,
)
