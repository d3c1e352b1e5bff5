"""Fronts against their definitions, written out over all pairs and with fractions."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from proprune_cli.flow.front import Mark, front, gaps, knee

# Few different values, so that equal costs and equal accuracies are drawn often.
MARKS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 6).map(float), st.floats(0, 100)),
        st.one_of(st.integers(1, 6).map(float), st.floats(1e-3, 1e3)),
    ),
    max_size=12,
).map(lambda pairs: [Mark(str(n), accuracy, cost) for n, (accuracy, cost) in enumerate(pairs)])


@given(MARKS)
def test_a_front_is_what_nothing_dominates(marks: list[Mark]) -> None:
    def beaten(mark: Mark) -> bool:
        return any(
            (o.accuracy > mark.accuracy and o.cost <= mark.cost) or (o.accuracy >= mark.accuracy and o.cost < mark.cost)
            for o in marks
        )

    found = front(marks)
    assert sorted(m.name for m in found) == sorted(m.name for m in marks if not beaten(m))
    assert [m.cost for m in found] == sorted(m.cost for m in found)
    assert [m.accuracy for m in found] == sorted(m.accuracy for m in found)
    for mark in marks:
        assert any(m is mark or m.dominates(mark) for m in found)
        assert not mark.dominates(mark)


@given(MARKS, st.randoms())
def test_the_order_of_marks_does_not_matter_and_a_front_is_its_own(marks: list[Mark], random: object) -> None:
    line = front(marks)
    mixed = list(marks)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert front(mixed) == line == front(line)


@given(MARKS)
def test_a_knee_is_farthest_from_the_chord(marks: list[Mark]) -> None:
    line = front(marks)
    found = knee(line)
    if len({(m.cost, m.accuracy) for m in line}) < 3:
        assert found is None
        return
    # Distance from the straight line through both ends, by the formula for a point and a line in the plane.
    (x0, y0), (x1, y1) = ((math.log(m.cost), m.accuracy) for m in (line[0], line[-1]))
    if x1 - x0 < 1e-9 or y1 - y0 < 1e-9:
        return

    def distance(mark: Mark) -> float:
        x, y = (math.log(mark.cost) - x0) / (x1 - x0), (mark.accuracy - y0) / (y1 - y0)
        return (y - x) / math.sqrt(2)

    best = max(distance(m) for m in line)
    if found is None:
        assert best <= 1e-6
    else:
        assert distance(found) >= best - 1e-6 and found not in (line[0], line[-1])


def test_the_knee_of_a_front_that_rises_and_then_lies_flat() -> None:
    line = [Mark("a", 50, 1), Mark("b", 88, 2), Mark("c", 89, 8), Mark("d", 90, 64)]
    assert knee(line) == line[1]
    # The same costs in another unit, and accuracies counted otherwise, change nothing.
    assert knee([Mark(m.name, m.accuracy / 100, m.cost * 17) for m in line]).name == "b"  # type: ignore[union-attr]
    assert knee([Mark("a", 0, 1), Mark("b", 1, 8), Mark("c", 90, 9)]) is None


@given(MARKS, st.integers(0, 9))
def test_gaps_are_cut_where_they_are_widest(marks: list[Mark], count: int) -> None:
    line = front(marks)
    costs = sorted({m.cost for m in line})
    found = gaps(line, count)
    assert len(found) <= count
    for gap in found:
        widths = [b / a for a, b in itertools.pairwise(costs)]
        assert gap.high / gap.low >= max(widths) * (1 - 1e-9)
        assert gap.left.cost <= gap.low < gap.middle < gap.high <= gap.right.cost
        assert math.isclose(gap.middle / gap.low, gap.high / gap.middle)
        assert not any(gap.low < c < gap.high for c in costs)
        costs = sorted([*costs, gap.middle])
    if len(costs) - len(found) > 1 and max(b / a for a, b in itertools.pairwise(costs)) > 1.001:
        assert len(found) == count
