"""Channel rules of operators that reshape, move and reduce axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from proprune_cli.channels.labels import Ids, Labels, Walker
from proprune_cli.channels.recorder import Node


def view(walker: Walker, node: Node) -> Labels | None:
    """Any reshape: the channel of every element is followed, and axes on which it does not depend are left out."""
    source: Node = node.sources[0]
    found = walker.of(source)
    if found is None:
        return None
    if node.shape == source.shape:
        return found
    ids, axis, candidates = _reshaped(found, source.shape, node.shape)
    if axis is None and not candidates:
        walker.pin(found.ids, f"{node.op} ({node.name}) drops the axis of an only channel")
        return None
    if axis is None:
        walker.forks.add(node.name)
        longest = max(node.shape[d] for d in candidates)
        axis = [d for d in candidates if node.shape[d] == longest][-1]
        if walker.choices.get(node.name) == "outer":
            axis = next(d for d in candidates if d != axis)
    result = Labels(ids, axis, found.tails)
    if walker.choices.get(node.name) == "fixed":
        walker.pin(
            found.ids,
            f"{node.op} ({node.name}) names numbers of features, {list(node.shape)}; torch.flatten(x, 1) would not",
        )
    return walker.settle(result) if result.line is None else result


def _reshaped(found: Labels, before: Sequence[int], after: Sequence[int]) -> tuple[Ids, int | None, list[int]]:
    """Labels after a reshape, the axis that gets shorter where it is certain, else the axes it could be."""
    ids = found.ids
    i = j = 0
    axis: int | None = None
    candidates: list[int] = []
    while i < len(before) or j < len(after):
        first_in, first_out = i, j
        p = q = 1
        if i < len(before):
            p, i = before[i], i + 1
        if j < len(after):
            q, j = after[j], j + 1
        while p != q:
            if p < q:
                p, i = p * before[i], i + 1
            else:
                q, j = q * after[j], j + 1
        inside, outside = range(first_in, i), list(range(first_out, j))
        # So far ids has the new axes in front; those of this block stand at first_out and after.
        place = [first_out + n for n in range(len(inside))]
        lead, rest = ids.shape[:first_out], ids.shape[first_out + len(inside) :]
        if all(ids.shape[d] == 1 for d in place):
            ids = ids.reshape(*lead, *[1] * len(outside), *rest)
            if found.axis in inside:  # an only channel: every element of the block is its
                axis = next((d for d in outside if d > 0), None)
                ids = ids if axis is None else np.repeat(ids, after[axis], axis=axis)
            continue
        full = np.broadcast_to(ids, (*lead, *[before[d] for d in inside], *rest))
        ids = full.reshape(*lead, *[after[d] for d in outside], *rest)
        for d in outside:
            first = ids.take([0], axis=d)
            if ids.shape[d] > 1 and bool((ids == first).all()):
                ids = first
        if found.axis in inside:
            candidates = [d for d in outside if ids.shape[d] > 1]
            if len(candidates) > 1 and candidates[0] == 0:
                candidates = candidates[1:]  # images of a batch do not go
            axis = candidates[0] if len(candidates) == 1 else None
    return np.ascontiguousarray(ids), axis, candidates


def reduce_pair(walker: Walker, node: Node) -> list[Labels | None]:
    """Reductions that also give places, or two figures: maximum and its index, variance and mean."""
    found = reduce(walker, node)
    if found is not None:
        walker.lift(found)
    return [found, found]


def reduce_lifting(walker: Walker, node: Node) -> Labels | None:
    """Reductions of which a zero channel need not be zero."""
    found = reduce(walker, node)
    if found is not None:
        walker.lift(found)
    return found


def reduce(walker: Walker, node: Node) -> Labels | None:
    """Over any axis but the one that gets shorter."""
    source: Node = node.sources[0]
    found = walker.of(source)
    if found is None:
        return None
    rank = len(source.shape)
    dims = node.arguments.get("dim")
    axes = {int(d) % rank for d in (dims if isinstance(dims, Sequence) else [dims])} if dims is not None else set[int]()
    if not axes or found.axis in axes:
        walker.expose(found)
        walker.pin(found.ids, f"{node.op} ({node.name}) reduces over channels")
        return None
    ids = found.ids
    for axis in axes:
        ids = ids.take([0], axis=axis)  # those along the axis have been united
    if node.arguments.get("keepdim"):
        return replace(found, ids=ids)
    ids = ids.reshape([s for d, s in enumerate(ids.shape) if d not in axes])
    return replace(found, ids=ids, axis=found.axis - sum(a < found.axis for a in axes))


def permute(walker: Walker, node: Node) -> Labels | None:
    """Axes in another order."""
    rank = len(node.shape)
    return _permuted(walker.of(node.sources[0]), [int(d) % rank for d in node.arguments["dims"]])


def transpose(walker: Walker, node: Node) -> Labels | None:
    """Two axes exchanged."""
    rank = len(node.shape)
    order = list(range(rank))
    if rank > 1:
        a, b = int(node.arguments.get("dim0", 0)) % rank, int(node.arguments.get("dim1", 1)) % rank
        order[a], order[b] = order[b], order[a]
    return _permuted(walker.of(node.sources[0]), order)


def _permuted(found: Labels | None, order: list[int]) -> Labels | None:
    if found is None:
        return None
    return replace(found, ids=np.ascontiguousarray(found.ids.transpose(order)), axis=order.index(found.axis))


def unsqueeze(walker: Walker, node: Node) -> Labels | None:
    """A new axis of length 1."""
    found = walker.of(node.sources[0])
    if found is None:
        return None
    axis = int(node.arguments["dim"]) % len(node.shape)
    return replace(found, ids=np.expand_dims(found.ids, axis), axis=found.axis + (axis <= found.axis))


def squeeze(walker: Walker, node: Node) -> Labels | None:
    """Axes of length 1 left out."""
    source: Node = node.sources[0]
    found = walker.of(source)
    if found is None:
        return None
    rank, dims = len(source.shape), node.arguments.get("dim")
    asked = range(rank) if dims is None else [int(d) % rank for d in (dims if isinstance(dims, Sequence) else [dims])]
    gone = [d for d in asked if source.shape[d] == 1]
    ids = found.ids.reshape([s for d, s in enumerate(found.ids.shape) if d not in gone])
    return replace(found, ids=ids, axis=found.axis - sum(d < found.axis for d in gone))


def pad(walker: Walker, node: Node) -> Labels | None:
    """Pixels around each channel; or channels, which have no parameters and stay (option A of ResNet's shortcuts)."""
    found, source = walker.of(node.sources[0]), node.sources[0]
    if found is None:
        return None
    rank, widths = len(source.shape), [int(p) for p in node.arguments["pad"]]
    place = 2 * (rank - 1 - found.axis)
    before, after = (widths[place], widths[place + 1]) if place < len(widths) else (0, 0)
    if node.arguments.get("value"):
        walker.lift(found)
    if before == after == 0:
        return found
    ids = found.line
    if before < 0 or after < 0 or ids is None:
        walker.pin(found.ids, f"{node.op} ({node.name}) crops channels")
        return None
    # As many as are added now are added to fewer channels, too: what is added stays, the others may go.
    added = [walker.fresh(before), ids, walker.fresh(after)]
    for made in (added[0], added[2]):
        walker.constants.append(made)
        walker.pin(made, f"{node.op} ({node.name}) adds these channels")
    return replace(found, ids=np.concatenate(added).reshape([-1 if d == found.axis else 1 for d in range(rank)]))


def expand(walker: Walker, node: Node) -> Labels | None:
    """Axes of length 1 repeated."""
    found = walker.of(node.sources[0])
    return None if found is None else found.aligned(len(node.shape))


def repeat(walker: Walker, node: Node) -> Labels | None:
    """The whole of a tensor several times along axes: each channel that goes goes from every copy."""
    found = walker.of(node.sources[0])
    if found is None:
        return None
    found = found.aligned(len(node.shape))
    copied = [d == found.axis or size > 1 for d, size in enumerate(found.ids.shape)]
    times = [int(n) if own else 1 for n, own in zip(node.arguments["repeats"], copied, strict=True)]
    return replace(found, ids=np.tile(found.ids, times))


def flip(walker: Walker, node: Node) -> Labels | None:
    """Axes turned round; channels too, whose survivors come in the opposite order."""
    found = walker.of(node.sources[0])
    if found is None:
        return None
    dims = tuple(int(d) % len(node.shape) for d in node.arguments["dims"])
    return replace(found, ids=np.ascontiguousarray(np.flip(found.ids, dims)))


def roll(walker: Walker, node: Node) -> Labels | None:
    """Axes turned in a ring; channels by a number of places, which holds for all of them alone."""
    found = walker.of(node.sources[0])
    if found is None:
        return None
    dims = [int(d) % len(node.shape) for d in node.arguments.get("dims") or []]
    if found.axis in dims or not dims:
        walker.expose(found)
        walker.pin(found.ids, f"{node.op} ({node.name}) moves channels by a fixed number of places")
        return None
    shifts = [int(n) for n in node.arguments["shifts"]]
    moved = {d: n for d, n in zip(dims, shifts, strict=True) if found.ids.shape[d] > 1}
    return replace(found, ids=np.roll(found.ids, list(moved.values()), list(moved.keys())))
