"""Random scores: what any other method must beat."""

from __future__ import annotations

from proprune_cli.channels.dependencies import Group
from proprune_cli.prune.methods.common.base import Context, Method, Scores


def random(group: Group, context: Context) -> Scores | None:
    """Uniform in (0, 1], from the run's seed."""
    return 1.0 - context.rng.random(group.channels)


METHOD = Method(
    name="random",
    title="Channels go at random.",
    source="Mittal et al. 2018, Recovering from Random Pruning",
    use="What any other method must beat.",
    importance=random,
)
