"""DDR allocation: tensors whose lifetimes do not meet share addresses.

Greedy by size, best fit: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, §5.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """A tensor of ``words`` words that is live from step ``first`` to step ``last``, both included."""

    name: str
    words: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def gap_for(tensor: Lifetime, placed: list[tuple[int, Lifetime]], align: int = 8) -> int:
    """Address of the smallest gap that holds ``tensor`` among the placed ones it meets; behind them where none does."""
    need = _aligned(tensor.words, align)
    best_gap, best = None, 0
    end = 0
    for address, other in sorted((p for p in placed if p[1].meets(tensor)), key=lambda p: p[0]):
        gap = address - end
        if gap >= need and (best_gap is None or gap < best_gap):
            best_gap, best = gap, end
        end = max(end, address + _aligned(other.words, align))
    return best if best_gap is not None else end


def allocate(lifetimes: list[Lifetime], align: int = 8) -> tuple[dict[str, int], int]:
    """Addresses by name, from 0, and the size of the arena in words.

    The largest tensor is placed first; each goes to the smallest gap that holds it among the tensors it meets.
    """
    placed: list[tuple[int, Lifetime]] = []
    for tensor in sorted(lifetimes, key=lambda t: (-t.words, t.name)):
        placed.append((gap_for(tensor, placed, align), tensor))
    size = max((a + _aligned(t.words, align) for a, t in placed), default=0)
    return {t.name: a for a, t in placed}, size


def _aligned(words: int, align: int) -> int:
    return -(-words // align) * align
