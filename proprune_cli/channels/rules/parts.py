"""Channel rules of operators that join and part channels, or choose among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from proprune_cli.channels.labels import Exit, Ids, Labels, Walker, owner_of
from proprune_cli.channels.recorder import Node
from proprune_cli.channels.spread import INDEX


def cat(walker: Walker, node: Node) -> Labels | None:
    """Channels one after another, or tensors of the same channels joined along another axis."""
    tensors = [t for t in node.arguments["tensors"] if t.shape != (0,)]
    return _joined(walker, node, tensors, [walker.of(t) for t in tensors], int(node.arguments["dim"]) % len(node.shape))


def stack(walker: Walker, node: Node) -> Labels | None:
    """Like `cat` along a new axis."""
    rank, tensors = len(node.shape), list(node.arguments["tensors"])
    dim = int(node.arguments["dim"]) % rank
    parts: list[Labels | None] = []
    for tensor in tensors:
        found = walker.of(tensor)
        if found is not None:
            found = replace(found, ids=np.expand_dims(found.ids, dim), axis=found.axis + (dim <= found.axis))
        parts.append(found)
    widened = [Node("unsqueeze", t.name, {}, (*t.shape[:dim], 1, *t.shape[dim:])) for t in tensors]
    return _joined(walker, node, widened, parts, dim)


def _joined(walker: Walker, node: Node, tensors: list[Node], parts: list[Labels | None], dim: int) -> Labels | None:
    present = [p for p in parts if p is not None]
    if not present:
        return None
    axis = present[0].axis
    if any(p.axis != axis for p in present) or (axis != dim and len(present) < len(parts)):
        walker.pin_inputs(node, f"{node.op} ({node.name}) joins tensors whose channels lie on different axes")
        return None
    shape = list(np.broadcast_shapes(*([1 if d == dim else s for d, s in enumerate(p.ids.shape)] for p in present)))
    pieces: list[Ids] = []
    for tensor, part in zip(tensors, parts, strict=True):
        shape[dim] = tensor.shape[dim]
        if part is None:
            fresh = walker.fresh(tensor.shape[dim])
            walker.constants.append(fresh)
            walker.pin(fresh, f"{node.op} ({node.name}) joins a tensor whose channels are fixed")
            piece = fresh.reshape([-1 if d == dim else 1 for d in range(len(shape))])
        else:
            piece = part.ids
        pieces.append(np.broadcast_to(piece, shape))
    tails = frozenset[str]().union(*(p.tails for p in present))
    ids = np.concatenate(pieces, axis=dim)
    first = ids.take([0], axis=dim)
    if dim != axis and bool((ids == first).all()):
        ids = first
    result = Labels(ids, axis, tails)
    return walker.settle(result) if result.line is None else result


def _parts(walker: Walker, node: Node, found: Labels, dim: int, sizes: list[int]) -> list[Labels | None]:
    ends = np.cumsum(sizes)
    pieces = np.split(found.ids, ends[:-1], axis=dim) if found.ids.shape[dim] > 1 else [found.ids] * len(sizes)
    if dim == found.axis and len(sizes) > 1:
        if len(set(sizes)) > 1 or sizes[0] == 1 or walker.choices.get(node.name) == "fixed":
            walker.pin(found.ids, f"{node.op} ({node.name}) parts the channels by fixed numbers, {sizes}")
        else:
            for piece in pieces[1:]:
                walker.unite(pieces[0], piece)
    return [replace(found, ids=p) if p.shape[found.axis] > 1 else None for p in pieces]


def split(walker: Walker, node: Node) -> list[Labels | None] | None:
    """Parts of equal size lose the same channels; unequal parts keep theirs."""
    source: Node = node.sources[0]
    found = walker.of(source)
    if found is None:
        return None
    dim = int(node.arguments["dim"]) % len(source.shape)
    length, sizes = source.shape[dim], node.arguments.get("split_sizes", node.arguments.get("split_size"))
    if "chunks" in node.arguments:
        sizes = -(-length // int(node.arguments["chunks"]))
    if not isinstance(sizes, (list, tuple)):
        size = int(sizes)  # pyright: ignore[reportArgumentType]
        sizes = [min(size, length - start) for start in range(0, length, size)]
    return _parts(walker, node, found, dim, [int(s) for s in sizes])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def unbind(walker: Walker, node: Node) -> list[Labels | None] | None:
    """One tensor per place of an axis."""
    source: Node = node.sources[0]
    found = walker.of(source)
    if found is None:
        return None
    dim = int(node.arguments["dim"]) % len(source.shape)
    return [_selected(walker, node, found, dim, i) for i in range(source.shape[dim])]


def select(walker: Walker, node: Node) -> Labels | None:
    """One place of an axis."""
    source: Node = node.sources[0]
    found = walker.of(source)
    if found is None:
        return None
    dim = int(node.arguments["dim"]) % len(source.shape)
    return _selected(walker, node, found, dim, int(node.arguments["index"]) % source.shape[dim])


def _selected(walker: Walker, node: Node, found: Labels, dim: int, index: int) -> Labels | None:
    if dim == found.axis:
        walker.pin(found.ids, f"{node.op} ({node.name}) takes single channels")
        return None
    ids = found.ids.take(index if found.ids.shape[dim] > 1 else 0, axis=dim)
    return replace(found, ids=ids, axis=found.axis - (dim < found.axis))


def slice_(walker: Walker, node: Node) -> Labels | None:
    """A range of an axis; ranges that part the channels into equal parts lose the same channels."""
    source: Node = node.sources[0]
    found = walker.of(source)
    if found is None:
        return None
    a = node.arguments
    dim = int(a["dim"]) % len(source.shape)
    if found.ids.shape[dim] == 1 or node.shape == source.shape:
        return found
    start = int(a.get("start") or 0)
    start = max(0, start + source.shape[dim] if start < 0 else start)
    step, length = int(a.get("step") or 1), node.shape[dim]
    ids = found.ids.take(range(start, start + length * step, step), axis=dim)
    if dim == found.axis:
        if step > 1 and start < step and length == -(-(source.shape[dim] - start) // step):
            return _every(walker, node, found, ids, step)
        if step != 1 or walker.choices.get(node.name) == "fixed":
            walker.pin(found.ids, f"{node.op} ({node.name}) takes channels by fixed numbers")
        while source.op == "slice" and source.shape == source.sources[0].shape:
            source = source.sources[0]  # torch 2.6 takes the whole of each axis before
        walker.slices.setdefault(source, []).append((start, start + length))
    return replace(found, ids=ids) if ids.shape[found.axis] > 1 else None


def _every(walker: Walker, node: Node, found: Labels, ids: Ids, step: int) -> Labels | None:
    """Every channel of ``step``: as many neighbours go together, so that the same ones are taken of those that stay."""
    length = found.ids.shape[found.axis]
    if length % step or walker.choices.get(node.name) == "fixed" or length == step:
        walker.pin(found.ids, f"{node.op} ({node.name}) takes every channel of {step} among {length}")
    else:
        rows = np.moveaxis(found.ids, found.axis, 0)
        rows = rows.reshape(length // step, step, -1)
        walker.unite(rows[:, :1], rows)
    return replace(found, ids=ids) if ids.shape[found.axis] > 1 else None


def glu(walker: Walker, node: Node) -> Labels | None:
    """One half of the channels times a gate made of the other."""
    found = walker.of(node.arguments["self"])
    if found is None:
        return None
    dim = int(node.arguments["dim"]) % len(node.shape)
    halves = _parts(walker, node, found, dim, [node.shape[dim]] * 2)
    return halves[0]


def channel_shuffle(walker: Walker, node: Node) -> Labels | None:
    """The channels of several groups dealt in turn: the groups lose the same ones."""
    found = walker.of(node.sources[0])
    if found is None:
        return None
    ids, groups = found.line, int(node.arguments["groups"])
    if ids is None or found.axis != 1:
        walker.pin(found.ids, f"{node.op} ({node.name}) rearranges all channels")
        return None
    rows = ids.reshape(groups, -1)
    walker.unite(rows[:1], rows)
    return replace(found, ids=np.ascontiguousarray(rows.T).reshape(found.ids.shape))


def join_slices(walker: Walker) -> None:
    """Once all slices are known: equal parts go in step, others stay."""
    for source, ranges in walker.slices.items():
        found = walker.of(source)
        if found is None:
            continue
        length = found.ids.shape[found.axis]
        size = ranges[0][1] - ranges[0][0]
        if sorted(set(ranges)) == [(s, s + size) for s in range(0, length, size)] and length % size == 0 and size > 1:
            pieces = np.split(found.ids, length // size, axis=found.axis)
            for piece in pieces[1:]:
                walker.unite(pieces[0], piece)
        else:
            walker.pin(found.ids, f"slice ({source.name}) takes channels by fixed numbers, {sorted(set(ranges))}")


def getitem(walker: Walker, node: Node) -> Labels | None:
    """One result of an operator that gives several."""
    found = walker.labels.get(node.sources[0])
    if isinstance(found, list):
        index = int(node.arguments["index"])
        return found[index] if index < len(found) else None
    return None


def index_select(walker: Walker, node: Node) -> Labels | None:
    """A `Spread` puts a branch's channels at their places in the stream; other selections are no rule."""
    a = node.arguments
    found, index = walker.of(a["self"]), a["index"]
    if found is None:
        return None
    name: Any = index.tensor if isinstance(index, Node) else ""
    ids = found.line
    values = walker.spread_index(name) if name.rpartition(".")[2] == INDEX else None
    if values is None or ids is None:
        walker.pin_inputs(node, f"{node.op} ({node.name}) has no channel rule")
        return None
    filled = np.isin(ids, np.concatenate([*walker.constants, np.empty(0, dtype=np.int64)]))
    width = int(np.sum(~filled))
    places = ids[values]
    places[values >= width] = walker.fresh(int(np.sum(values >= width)))
    module = owner_of(name)
    walker.exits[module][-1] = Exit(ids[:width], places, np.where(values < width, values, width - 1 - values))
    return replace(found, ids=places.reshape([-1 if d == found.axis else 1 for d in range(len(node.shape))]))


def pixel_shuffle(walker: Walker, node: Node) -> Labels | None:
    """r² channels become one of r times the size, so they go together."""
    found = walker.of(node.sources[0])
    if found is None:
        return None
    ids, factor = found.line, int(node.arguments["upscale_factor"])
    if ids is None or found.axis != 1 or len(node.shape) != 4 or node.shape[1] == 1:
        walker.pin(found.ids, f"{node.op} ({node.name}) rearranges all channels")
        return None
    rows = ids.reshape(-1, factor * factor)
    walker.unite(rows[:, :1], rows)
    return replace(found, ids=np.ascontiguousarray(rows[:, 0]).reshape(1, -1, 1, 1))


def pixel_unshuffle(walker: Walker, node: Node) -> Labels | None:
    """One channel becomes r² smaller ones."""
    found = walker.of(node.sources[0])
    if found is None:
        return None
    ids, factor = found.line, int(node.arguments["downscale_factor"])
    if ids is None or found.axis != 1 or len(node.shape) != 4:
        walker.pin(found.ids, f"{node.op} ({node.name}) rearranges all channels")
        return None
    return replace(found, ids=np.repeat(ids, factor * factor).reshape(1, -1, 1, 1))
