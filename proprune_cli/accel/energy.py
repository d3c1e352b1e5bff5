"""Predicted energy of an inference. All it says is *predicted*, with its coefficients, their sources and a range.

Model: ``E = static_w · t + mac_pj · MACs + slot_pj · slots + ddr_pj_per_byte · bytes`` with t the predicted latency,
MACs those that the array issues (`proprune_cli.work.macs`: weights that are not in the program cost nothing) and
slots = cycles × multipliers of the array, whether they had work or not. The coefficients stand in the board's file.
Whole-board static power dominates on small boards, so a network that takes half the time takes about half the energy.

The range takes every coefficient at its lower and at its upper bound at once: it covers the coefficients' uncertainty,
not that of the latency. Only a meter on the board gives a measured figure.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board, Coefficient

MODEL = "proprune energy model 2"
"""Name under which its figures are reported."""


@dataclass(frozen=True)
class Work:
    """What one inference, or one layer, does.

    Attributes:
        cycles: engine clock cycles. macs: multiply-accumulates that the array issues. ddr_bytes: read and written.
    """

    cycles: float
    macs: float
    ddr_bytes: float


@dataclass(frozen=True)
class EnergyTerm:
    """One summand, mJ; ``low_mj`` and ``high_mj`` at the coefficient's bounds."""

    name: str
    energy_mj: float
    low_mj: float
    high_mj: float
    coefficient: Coefficient


@dataclass(frozen=True)
class EnergyPrediction:
    """Predicted energy of one inference, mJ."""

    terms: tuple[EnergyTerm, ...]
    model: str = MODEL
    source: str = "predicted"

    @property
    def energy_mj(self) -> float:
        return sum(t.energy_mj for t in self.terms)

    @property
    def low_mj(self) -> float:
        return sum(t.low_mj for t in self.terms)

    @property
    def high_mj(self) -> float:
        return sum(t.high_mj for t in self.terms)


def predict_energy(board: Board, array: Array, work: Work, clock_mhz: float | None = None) -> EnergyPrediction:
    """Energy of ``work`` on ``array`` in ``board``.

    Args:
        clock_mhz: engine clock; the array's planned clock by default.
    """
    seconds = work.cycles / ((clock_mhz or array.clock_mhz) * 1e6)
    e = board.energy
    return EnergyPrediction(
        (
            _term("static_w", e.static_w, seconds * 1e3),
            _term("mac_pj", e.mac_pj, work.macs * 1e-9),
            _term("slot_pj", e.slot_pj, work.cycles * array.macs_per_cycle * 1e-9),
            _term("ddr_pj_per_byte", e.ddr_pj_per_byte, work.ddr_bytes * 1e-9),
        )
    )


def _term(name: str, coefficient: Coefficient, amount: float) -> EnergyTerm:
    energy = coefficient.value * amount
    return EnergyTerm(name, energy, energy / coefficient.factor, energy * coefficient.factor, coefficient)
