"""What became of each layer and each group of channels: plain records, for reports and for files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRow:
    """Channels of one layer before and after."""

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kept_in: int
    kept_out: int
    macs: int
    kept_macs: int


@dataclass(frozen=True)
class GroupRow:
    """One group of coupled channels."""

    name: str
    channels: int
    kept: int
    prunable: bool
    reason: str
    """Why it was left alone; empty where it was free."""
    layers: tuple[str, ...]
