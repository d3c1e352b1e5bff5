"""Which tensors of networks would lie on chip, and which steps others wait for: by what passes read and write."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.predict.columns import Ints, Rows

_ALIGN = 8
"""Words that addresses are multiples of, as in `proprune_cli.compile.lower.allocate`."""


@dataclass(frozen=True)
class Reads:
    """What passes of many networks read, one entry for a pass and a tensor that a pass wrote; passes and tensors by
    their numbers among all.

    Attributes:
        reader, tensor: int64 [reads], ascending by reader.
        row: of the tensor at which the view begins. first, end: groups of the view between which its groups lie.
    """

    reader: Ints
    tensor: Ints
    row: Ints
    first: Ints
    end: Ints

    @staticmethod
    def of(rows: Rows, tensors: str, row: str, groups: str | None = None) -> Reads:
        """Of the columns of those names; without ``groups`` all are of one group."""
        found = rows.lists[tensors]
        reader = found.owner
        begin = rows.starts[:-1][rows.owner]
        size = np.ones_like(reader) if groups is None else rows.lists[groups].values
        ends = np.cumsum(size)
        first = ends - size - np.append(0, ends)[found.starts[:-1]][reader]
        known = np.flatnonzero(found.values >= 0)
        tensor = found.values[known] + begin[reader[known]]
        order = np.lexsort([tensor, reader[known]])
        at, tensor = known[order], tensor[order]
        new = np.ones(len(at), dtype=np.bool_)
        new[1:] = (reader[at][1:] != reader[at][:-1]) | (tensor[1:] != tensor[:-1])
        starts = np.flatnonzero(new)
        if not len(starts):
            return Reads(*(np.zeros(0, dtype=np.int64) for _ in range(5)))
        return Reads(
            reader[at][starts],
            tensor[starts],
            rows.lists[row].values[at][starts],
            np.minimum.reduceat(first[at], starts),
            np.maximum.reduceat((first + size)[at], starts),
        )


def tensor_of(rows: Rows) -> Ints:
    """Number, among the passes of all networks, of the first one that writes the tensor of each, int64 [passes]."""
    return rows.passes["tensor"] + rows.starts[:-1][rows.owner]


def on_chip(rows: Rows, stored: Ints, loaded: Ints, array: Array) -> NDArray[np.bool_]:
    """Whether the tensor of each pass would be put on chip, bool [passes], by the rule of
    `proprune_cli.compile.lower.on_chip`.

    Args:
        stored, loaded: words that each pass stores, and cells that it loads, [passes].
    """
    passes, lists = rows.passes, rows.lists
    count, tensor = len(stored), tensor_of(rows)
    begin = rows.starts[:-1][rows.owner]
    inputs, operands = lists["inputs"], lists["operands"]
    groups = np.bincount(inputs.owner, lists["input_groups"].values, minlength=count)
    share = np.round(loaded / np.maximum(groups, 1))
    known = inputs.values >= 0
    reader, source = inputs.owner[known], (inputs.values + begin[inputs.owner])[known]
    saved = np.bincount(tensor, stored, minlength=count)
    saved += np.bincount(source, share[reader] * lists["input_groups"].values[known], minlength=count)
    barred = np.zeros(count, dtype=np.bool_)
    barred[tensor[passes["outside"].astype(np.bool_)]] = True
    held = operands.values >= 0
    barred[(operands.values + begin[operands.owner])[held]] = True
    first = np.arange(count)
    last = first.copy()
    np.maximum.at(last, tensor, first)
    np.maximum.at(last, source, reader)
    words = passes["tensor_words"]
    stops = np.cumsum(passes["host_before"])
    may = (tensor == first) & ~barred & (words <= array.scratch_words) & (saved > 0) & (stops[last] == stops[first])
    candidates = np.flatnonzero(may)
    worth = saved[candidates] / (words[candidates] * (last[candidates] - candidates + 1))
    # The networks one after the other, of each the tensor first that saves most for the room it takes.
    order = candidates[np.lexsort([candidates, -worth, rows.owner[candidates]])]
    chosen = _placed(
        list(zip(*(c[order].tolist() for c in (rows.owner, words, first, last)), strict=True)), array.scratch_words
    )
    there = np.zeros(count, dtype=np.bool_)
    there[order[chosen]] = True
    return there[tensor]


def _placed(candidates: list[tuple[int, int, int, int]], room: int) -> NDArray[np.bool_]:
    """Which tensors (network, words, first and last pass that it is live in) find room beside those before them.

    Each goes to the smallest gap that holds it, as in `proprune_cli.compile.lower.allocate.gap_for`.
    """
    chosen = np.zeros(len(candidates), dtype=np.bool_)
    network, placed = -1, list[tuple[int, int, int, int]]()
    for number, (owner, words, first, last) in enumerate(candidates):
        if owner != network:
            network, placed = owner, []
        need = -(-words // _ALIGN) * _ALIGN
        best_gap, best, end = room + 1, -1, 0
        for address, behind, born, dies in placed:
            if born > last or dies < first:
                continue
            gap = address - end
            if need <= gap < best_gap:
                best_gap, best = gap, end
            end = max(end, behind)
        address = best if best >= 0 else end
        if address + words <= room:
            insort(placed, (address, address + need, first, last))
            chosen[number] = True
    return chosen


@dataclass(frozen=True)
class Completion:
    """When passes complete rows of what they write.

    Attributes:
        starts: first step of each, and the end, int64 [passes + 1], among those of all networks.
        per_band, height: steps and rows of a row of tiles, int64 [passes].
    """

    starts: Ints
    per_band: Ints
    height: Ints


def needs(rows: Rows, reads: Reads, completion: Completion, of: Ints, row: Ints, groups: tuple[Ints, Ints]) -> Ints:
    """How many steps, counted over all networks, must be complete before each step loads, int64 [steps].

    Args:
        of: pass of each step. row: the last one that it reads of its view; -1 where it reads none.
        groups: the first group that it reads, and the one after the last.
    """
    passes, tensor = rows.passes, tensor_of(rows)
    # Each read meets all passes that write the tensor.
    writers = np.argsort(tensor, kind="stable")
    many = np.bincount(tensor, minlength=len(tensor))
    first = np.cumsum(many) - many
    times = many[reads.tensor]
    read = np.repeat(np.arange(len(times)), times)
    writer = writers[first[reads.tensor][read] + np.arange(len(read)) - np.repeat(np.cumsum(times) - times, times)]
    pairs = np.bincount(reads.reader[read], minlength=len(tensor))
    # Steps times what their pass reads, those of a step side by side.
    per_step = pairs[of]
    step = np.repeat(np.arange(len(of)), per_step)
    within = np.arange(len(step)) - np.repeat(np.cumsum(per_step) - per_step, per_step)
    pair = (np.cumsum(pairs) - pairs)[of][step] + within
    maker, view = writer[pair], read[pair]
    wanted = reads.row[view] + row[step]
    own = np.minimum((wanted - passes["first_h"][maker]) // passes["step_h"][maker], passes["out_h"][maker] - 1)
    done = completion.starts[maker] + (own // completion.height[maker] + 1) * completion.per_band[maker]
    done = np.minimum(done, completion.starts[maker + 1])
    meets = (row[step] >= 0) & (own >= 0) & (groups[0][step] < reads.end[view]) & (groups[1][step] > reads.first[view])
    found = np.zeros(len(of), dtype=np.int64)
    some = np.flatnonzero(per_step)
    if len(some):
        found[some] = np.maximum.reduceat(np.where(meets, done, 0), (np.cumsum(per_step) - per_step)[some])
    return found


def waits(need: Ints) -> Ints:
    """Steps back that each step waits for, given how many must be complete before it, int64 [steps]."""
    distance = np.arange(len(need)) + 1 - need
    return np.where((distance > 0) & (distance < isa.STEPS_IN_FLIGHT), distance, isa.STEPS_IN_FLIGHT)
