"""What can be compiled for: every board with every array that fits it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from proprune_cli.board.bitstreams import load_manifest, pairs


@dataclass(frozen=True)
class Entry:
    """One board with one array.

    Attributes:
        default: whether ``compile`` takes this array where none is named.
        bandwidth_gb_s: planned DDR bandwidth. cma_bytes: contiguous memory that can be allocated.
        bitstream: "built" or "not built". reason: why it is not.
    """

    board: str
    title: str
    part: str
    array: str
    default: bool
    macs_per_cycle: int
    clock_mhz: float
    bandwidth_gb_s: float
    cma_bytes: int
    digest: str
    bitstream: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def catalogue() -> list[Entry]:
    """Every pair, boards in alphabetical order, each board's default array first.

    Raises:
        InputError: a bitstream manifest is malformed, or a built bitstream's file was altered.
    """
    entries: list[Entry] = []
    for board, array in pairs():
        manifest = load_manifest(board, array)
        entries.append(
            Entry(
                board=board.name,
                title=board.title,
                part=board.part,
                array=array.name,
                default=array.name == board.default_array,
                macs_per_cycle=array.macs_per_cycle,
                clock_mhz=manifest.clock_mhz,
                bandwidth_gb_s=board.ddr_planned_gb_s,
                cma_bytes=board.cma_bytes,
                digest=array.digest,
                bitstream=manifest.status,
                reason=manifest.reason,
            )
        )
    return entries
