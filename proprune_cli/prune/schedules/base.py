"""What a schedule starts from and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from proprune_cli.prune.phases import Network
from proprune_cli.prune.result import NetworkFigures
from proprune_cli.prune.shrunk import Shrunk

DEFAULT_ROUNDS = 3


@dataclass(frozen=True)
class Fresh:
    """Networks to start from."""

    dense: Network
    """Trained."""
    untrained: Callable[[], nn.Module]
    """The same architecture with the weights that dense training started from."""


@dataclass(frozen=True)
class Outcome:
    """A pruned and trained network, and how it came about."""

    shrunk: Shrunk
    """Rows and sizes from the dense network to the final one."""
    pruned: NetworkFigures
    """Straight after the last removal."""
    tuned: Network
    operations: int
    """Multiply-accumulates that a thin network of the same cost may have."""
    notes: tuple[str, ...] = ()
