"""What ``--objective`` asks for: predicted figures that stand in the loss while a network learns."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from proprune_cli.errors import BudgetError, InputError, UsageError
from proprune_cli.prune.objective import DifferentiableCost
from proprune_cli.prune.options import WHOLE, Budget, BudgetKind
from proprune_cli.prune.verdict import COMPILED

GoalKind = Literal["latency", "energy", "ops"]

DEFAULT = "ops=50%"
"""What is sought where nobody says."""

_KINDS: dict[str, tuple[BudgetKind, str]] = {"latency": ("ms", "ms"), "energy": ("mj", "mJ"), "ops": ("ops", "")}
"""Kind of goal → the budget that counts the same, and its unit."""
_TERM = re.compile(r"\s*(?P<kind>[a-z]+)\s*(?P<sign>[=*])\s*(?P<number>[^%a-zA-Z]+?)\s*(?P<unit>%|[a-zA-Z]*)\s*")
_REMEDY = "write latency=0.8ms, latency=40%, energy=2mJ, ops=50% or latency*0.3; several with commas between them"


@dataclass(frozen=True)
class Goal:
    """One term of an objective.

    Attributes:
        kind: what is predicted. text: as it was typed.
        budget: what may remain; None where the term has a weight.
        weight: of the figure as a share of the dense network's, in the loss; None where there is a budget.
    """

    kind: GoalKind
    text: str
    budget: Budget | None = None
    weight: float | None = None

    @property
    def counted(self) -> BudgetKind:
        """The kind of budget that counts the same figure."""
        return _KINDS[self.kind][0]

    @property
    def unit(self) -> str:
        """Unit of the figure; empty for operations."""
        return _KINDS[self.kind][1]

    def limit(self, dense: float) -> float | None:
        """What may remain of the dense network's figure; None where the term has a weight."""
        if self.budget is None:
            return None
        return self.budget.value if self.budget.absolute else self.budget.value * dense


def read_objective(text: str) -> tuple[Goal, ...]:
    """The goals in ``latency=0.8ms,energy=40%`` and the like, each kind once.

    Raises:
        UsageError: it is written otherwise.
    """
    goals = tuple(_goal(part.strip()) for part in text.split(","))
    kinds = [goal.kind for goal in goals]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise UsageError(f"the objective names {twice} twice", where=f"--objective {text}", remedy="give it once")
    return goals


def _goal(text: str) -> Goal:
    where = f"--objective {text}"
    found = _TERM.fullmatch(text)
    if found is None or found["kind"] not in _KINDS:
        raise UsageError(
            f"{text!r} is no objective; the kinds are " + ", ".join(get_args(GoalKind)), where=where, remedy=_REMEDY
        )
    kind, unit = found["kind"], found["unit"]
    counted, own = _KINDS[kind]
    try:
        value = float(found["number"])
    except ValueError:
        raise UsageError(f"{found['number']!r} is not a number", where=where, remedy=_REMEDY) from None
    goal = Goal(kind, text)  # pyright: ignore[reportArgumentType]
    if found["sign"] == "*":
        if unit or not (math.isfinite(value) and value > 0):
            raise UsageError("a weight is a number above 0", where=where, remedy=_REMEDY)
        return Goal(goal.kind, text, weight=value)
    if unit.lower() not in ("%", own.lower()) or (not own and unit != "%"):
        raise UsageError(
            f"{kind} is given in {own + ' or ' if own else ''}percent of the dense network's",
            where=where,
            remedy=_REMEDY,
        )
    share = unit == "%"
    if not math.isfinite(value) or value <= 0 or (share and value >= 100):
        raise UsageError(
            f"{value:g}{unit} of {kind} is no aim", where=where, remedy="give more than 0 and less than 100%"
        )
    return Goal(goal.kind, text, Budget(counted, value / 100 if share else value, not share, share))


@dataclass(frozen=True)
class Sought:
    """A goal for one network.

    Attributes:
        model: predicts the figure from sizes. dense: the figure of the network at full size, compiled.
        limit: what it may be; None where the goal has a weight.
        compiled: the figure of a smaller network once it is compiled.
    """

    goal: Goal
    model: DifferentiableCost
    dense: float
    limit: float | None
    compiled: Callable[[nn.Module], float]

    def check(self, least: float, multiple: int, min_keep: float) -> None:
        """See that the goal is within reach.

        Args:
            least: figure of the smallest network that the options allow, compiled.

        Raises:
            BudgetError: it is not.
            InputError: the dense network keeps to it.
        """
        if self.limit is None:
            return
        where = f"--objective {self.goal.text}"
        if self.limit >= self.dense * WHOLE:
            raise InputError(
                f"the dense network is predicted at {self.said(self.dense)}, which keeps to it",
                where=where,
                remedy="train it as it is, or ask for less",
            )
        if least > self.limit * (1 + COMPILED):
            raise BudgetError(
                f"the objective cannot be reached: the least that --multiple {multiple} and --min-keep {min_keep:g} "
                f"allow is {self.said(least)}, {least / self.dense:.1%} of the dense network's",
                where=where,
                remedy="ask for more, lower --multiple or --min-keep, exclude less, or take a smaller network",
            )

    def said(self, figure: float) -> str:
        """A figure for people."""
        if self.goal.kind == "ops":
            return f"{figure:,.0f} operations"
        return f"{figure:.4g} {self.goal.unit}"
