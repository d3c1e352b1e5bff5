"""Which networks are worth having: fronts of accuracy against a cost, their knees and their gaps. Arithmetic alone."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """One network.

    Attributes:
        name: which. accuracy: percent; more is better. cost: ms or mJ, above 0; less is better.
    """

    name: str
    accuracy: float
    cost: float

    def dominates(self, other: Mark) -> bool:
        """Whether it is at least as accurate at no more cost, and better in one of the two."""
        as_good = self.accuracy >= other.accuracy and self.cost <= other.cost
        return as_good and (self.accuracy > other.accuracy or self.cost < other.cost)


def front(marks: Iterable[Mark]) -> list[Mark]:
    """The marks that no other dominates, by rising cost. Marks that are equal in both stay together."""
    found: list[Mark] = []
    # By cost, of equal cost the most accurate first: whatever dominates a mark comes before it.
    for mark in sorted(marks, key=lambda m: (m.cost, -m.accuracy, m.name)):
        last = found[-1] if found else None
        if last is None or mark.accuracy > last.accuracy or (mark.accuracy, mark.cost) == (last.accuracy, last.cost):
            found.append(mark)
    return found


def knee(line: Sequence[Mark]) -> Mark | None:
    """The mark of a front after which accuracy gets dear: farthest above the chord between the front's ends.

    Cost is taken by its logarithm, so that halving it counts the same everywhere, and both axes are scaled to 0 to 1:
    the maximum of the difference curve of Satopää, Albrecht, Irwin & Raghavan 2011, "Finding a 'Kneedle' in a
    Haystack", section III, without its smoothing, for the points are few.

    Args:
        line: as `front` gives it.

    Returns:
        None where no mark lies above the chord, or there are fewer than three different ones.
    """
    if len(line) < 3 or line[0].cost == line[-1].cost or line[0].accuracy == line[-1].accuracy:
        return None
    low, width = math.log(line[0].cost), math.log(line[-1].cost / line[0].cost)
    bottom, height = line[0].accuracy, line[-1].accuracy - line[0].accuracy
    if not (width > 0 and height > 0):
        return None

    def above(mark: Mark) -> float:
        return (mark.accuracy - bottom) / height - (math.log(mark.cost) - low) / width

    best = max(line, key=above)
    return best if above(best) > 1e-9 else None


@dataclass(frozen=True)
class Gap:
    """A stretch of a front without a network.

    Attributes:
        left, right: the marks at its ends, left the cheaper. low, high: costs between which there is none.
    """

    left: Mark
    right: Mark
    low: float
    high: float

    @property
    def middle(self) -> float:
        """The cost in the middle, by its logarithm."""
        return math.sqrt(self.low * self.high)


def gaps(line: Sequence[Mark], count: int) -> list[Gap]:
    """The ``count`` gaps in which new networks narrow a front most, each cut in its middle before the next is looked
    for, so that a gap far wider than the others is cut again.

    Args:
        line: as `front` gives it.
    """
    found: list[Gap] = []
    waiting: list[tuple[float, float, Gap]] = []

    def wait(gap: Gap) -> None:
        if gap.low < gap.middle < gap.high:
            heapq.heappush(waiting, (-math.log(gap.high / gap.low), gap.low, gap))

    for left, right in itertools.pairwise(line):
        wait(Gap(left, right, left.cost, right.cost))
    while waiting and len(found) < count:
        _, _, gap = heapq.heappop(waiting)
        found.append(gap)
        wait(Gap(gap.left, gap.right, gap.low, gap.middle))
        wait(Gap(gap.left, gap.right, gap.middle, gap.high))
    return found
