"""Scale of the batch norm (Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming")."""

from __future__ import annotations

import numpy as np

from proprune_cli.channels.dependencies import Group
from proprune_cli.prune.methods.common.base import Context, Method, Scores


def bn(group: Group, context: Context) -> Scores | None:
    """Sum of |γ| over the group's batch norms; None where it has none."""
    total = np.zeros(group.channels)
    found = False
    for member in group.members:
        owner, _, leaf = member.tensor.rpartition(".")
        prefix = f"{owner}." if owner else ""
        if leaf == "weight" and f"{prefix}running_var" in context.tensors:
            gamma = context.tensors[member.tensor].detach().abs().double().cpu().numpy()
            total += gamma[member.index].sum(axis=1)
            found = True
    return total if found else None


METHOD = Method(
    name="bn",
    title="Channels with the smallest batch-norm scale go first.",
    source="Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, Section 3",
    use="Networks with a batch norm after every convolution; layers without one are left alone.",
    importance=bn,
)
