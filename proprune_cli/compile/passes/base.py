"""What a pass is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proprune_cli.ir.graph import Graph, NodeKind


@dataclass(frozen=True)
class Pass:
    """One transformation that keeps the network's function.

    Attributes:
        run: the transformation.
        requires: kinds of node that must be gone before it runs.
        ensures: kinds of node that are gone after it.
    """

    name: str
    run: Callable[[Graph], Graph]
    requires: tuple[NodeKind, ...] = ()
    ensures: tuple[NodeKind, ...] = ()
