"""DDR as the engine sees it."""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board

DDR_BURST_BYTES = 16
"""Least that DDR moves at once: 8 transfers of the 16-bit DDR3 of a PYNQ-Z1 or -Z2. Assumed of every board."""


@dataclass(frozen=True)
class Memory:
    """DDR as one engine clock sees it.

    Attributes:
        bytes_per_cycle: planned bandwidth of all ports together.
        latency: cycles from a read request to its first word.
        clock_mhz: engine clock.
    """

    bytes_per_cycle: float
    latency: float
    clock_mhz: float

    @staticmethod
    def planned(bandwidth_gb_s: float, latency_ns: float, clock_mhz: float) -> Memory:
        """From a board's planned bandwidth in GB/s (1e9 bytes) and read latency in ns."""
        return Memory(bandwidth_gb_s * 1e3 / clock_mhz, latency_ns * clock_mhz * 1e-3, clock_mhz)

    @staticmethod
    def of(board: Board, array: Array) -> Memory:
        """What ``board`` is planned to give an engine at the array's clock."""
        return Memory.planned(board.ddr_planned_gb_s, board.ddr_latency_ns, array.clock_mhz)
