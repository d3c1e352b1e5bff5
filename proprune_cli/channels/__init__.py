"""Which channels of a network belong together, and how some of them go.

What it may know: torch, NumPy and records of work. Nothing of training, data, budgets or hardware: this room could be
published on its own.

    module ── trace ──▶ labels ── rules ──▶ groups ── survivors ──▶ surgery ──▶ smaller module ── proof

The way in is `analyse`, which gives a `ChannelMap`; `cuts_for` and `shrink` make the smaller network, `prove`
compares it. What an operator does to channels is one function in ``rules/`` and one line in its table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proprune_cli.lazy import face

if TYPE_CHECKING:
    from proprune_cli.channels.count import CostTable
    from proprune_cli.channels.dependencies import analyse
    from proprune_cli.channels.groups import ChannelMap, Group
    from proprune_cli.channels.shrunk import Shrunk
    from proprune_cli.channels.surgery import Cuts, cuts_for, prove, shrink
    from proprune_cli.channels.zeroed import remove_zeroed

__all__ = [
    "ChannelMap",
    "CostTable",
    "Cuts",
    "Group",
    "Shrunk",
    "analyse",
    "cuts_for",
    "prove",
    "remove_zeroed",
    "shrink",
]

__getattr__ = face(
    __name__,
    {
        "dependencies": "analyse",
        "groups": "ChannelMap Group",
        "count": "CostTable",
        "surgery": "Cuts cuts_for prove shrink",
        "shrunk": "Shrunk",
        "zeroed": "remove_zeroed",
    },
)
