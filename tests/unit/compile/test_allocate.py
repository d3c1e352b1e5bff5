"""Allocation: live tensors never overlap, dead ones are reused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proprune_cli.compile.lower.allocate import Lifetime, allocate


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Lifetime]:
    out: list[Lifetime] = []
    for i in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 10))
        out.append(Lifetime(f"t{i}", draw(st.integers(1, 100)), first, first + draw(st.integers(0, 5))))
    return out


@given(lifetimes())
def test_tensors_that_are_live_together_never_overlap(tensors: list[Lifetime]) -> None:
    addresses, size = allocate(tensors)
    for i, a in enumerate(tensors):
        assert addresses[a.name] % 8 == 0
        assert addresses[a.name] + a.words <= size
        for b in tensors[i + 1 :]:
            if a.meets(b):
                assert (
                    addresses[a.name] + a.words <= addresses[b.name] or addresses[b.name] + b.words <= addresses[a.name]
                )


def test_a_chain_needs_room_for_two_neighbours_only() -> None:
    chain = [Lifetime(f"t{i}", 80, i, i + 1) for i in range(10)]
    assert allocate(chain)[1] == 160
