"""A budget and what came of it: the one place that says whether it was met, and in which words.

Figures stand in the unit that the user typed: predicted milliseconds or millijoules, percent, or a fraction.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.errors import BudgetError
from proprune_cli.prune.options import Budget

EXACT = 1e-6
"""Share of a budget by which a figure that is counted may be over it: what rounding of floats takes."""
COMPILED = 0.005
"""The same of a figure that the compiled network is predicted at: weights that training moves to or from zero, and
calibration, shift it by that after the choice was made."""
ROUNDED = 0.02
"""Share of the channels by which ``ratio`` may fall short: what rounding to multiples takes."""
UNUSED = 0.02
"""A budget counts as used when at most this share of the dense figure is left."""


@dataclass(frozen=True)
class Verdict:
    """What was asked for and what was reached.

    Attributes:
        budget: as it was typed. kind: what it counts. unit: of all figures: ``ms``, ``mJ``, ``%``, or empty for
            fractions of the dense network's figure.
        asked: the budget; for ``ratio`` what had to go, else what may remain.
        reached: the network's figure.
        least: of the smallest network that the options allow; None where it is not known.
        tolerance: by how much a budget may be exceeded, or fallen short of, and is still met.
        dense: the dense network's figure.
    """

    budget: str
    kind: str
    unit: str
    asked: float
    reached: float
    least: float | None
    tolerance: float
    dense: float

    @property
    def met(self) -> bool:
        """Whether the network keeps to the budget, within the tolerance."""
        return self._keeps(self.reached)

    @property
    def possible(self) -> bool:
        """Whether the smallest network that the options allow keeps to it."""
        return self.least is None or self._keeps(self.least)

    @property
    def note(self) -> str:
        """What to know of a budget that rounding leaves a part of; empty where it is used."""
        if self.kind == "ratio" or self.asked - self.reached <= UNUSED * self.dense:
            return ""
        return f"rounding leaves {self._said(self.reached)} of {self.budget}; a smaller --multiple would come closer"

    def __str__(self) -> str:
        if self.met:
            return f"budget {self.budget}, reached {self._said(self.reached)}"
        return f"budget {self.budget}, missed: {self._said(self.reached)}, {self._by()}"

    def missed(self, where: str, multiple: int, min_keep: float) -> BudgetError:
        """The error of a finished network that misses the budget.

        Args:
            where: the run directory or the module. multiple, min_keep: the options of those names.
        """
        return BudgetError(
            f"the budget {self.budget} is missed: reached {self._said(self.reached)}, {self._by()}"
            + self._bound(multiple, min_keep),
            where=where,
            remedy="the network is kept; for a smaller one " + _REMEDY,
        )

    def impossible(self, multiple: int, min_keep: float) -> BudgetError:
        """The error of a budget that no allowed network keeps to, before anything is trained."""
        return BudgetError(
            f"the budget {self.budget} cannot be met" + self._bound(multiple, min_keep),
            where="--budget",
            remedy=_REMEDY,
        )

    def _keeps(self, figure: float) -> bool:
        if self.kind == "ratio":
            return figure >= self.asked - self.tolerance
        return figure <= self.asked + self.tolerance

    def _said(self, figure: float) -> str:
        return f"{self.kind}={figure:.4g}{'%' if self.unit == '%' else ''}"

    def _by(self) -> str:
        if self.kind == "ratio":
            return f"{(self.asked - self.reached) * (1 if self.unit == '%' else 100):.3g} % of the channels too few"
        return f"{100 * (self.reached / self.asked - 1):.3g} % over"

    def _bound(self, multiple: int, min_keep: float) -> str:
        if self.least is None:
            return ""
        most = "most" if self.kind == "ratio" else "least"
        return f"; the {most} that --multiple {multiple} and --min-keep {min_keep:g} allow is {self._said(self.least)}"


_REMEDY = "give another budget, lower --multiple or --min-keep, exclude less, or take a wider network"


def judge(budget: Budget, reached: float, least: float | None, *, compiled: bool = False) -> Verdict:
    """The verdict on a network.

    Args:
        budget: a share (see `Budget.of`).
        reached, least: shares of the dense network's figure; for ``ratio`` the shares of the channels that are gone.
        compiled: they are predictions of compiled networks.
    """
    scale = budget.scale
    tolerance = ROUNDED if budget.kind == "ratio" else budget.value * (COMPILED if compiled else EXACT)
    return Verdict(
        budget=budget.said(),
        kind=budget.kind,
        unit=budget.unit,
        asked=budget.value * scale,
        reached=reached * scale,
        least=None if least is None else least * scale,
        tolerance=tolerance * scale,
        dense=scale,
    )
