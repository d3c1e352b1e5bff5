"""Which variants a data set has: every network with every way to prune and every array as often, the rest drawn.

Row ``i`` of a plan is made from the seed and ``i`` alone, so that any process can make any row, again and the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import board_names, load_board
from proprune_cli.ir.nodes import ShapeError
from proprune_cli.ir.quantized import QConv, QGraph
from proprune_cli.predict import variants
from proprune_cli.predict.variants import Bools

METHODS = ("dense", "thin", "coupled", "free", "odd", "guided", "guided+binary", "binary", "taps", "positions")
"""Ways to prune: whole network narrower alike; channels by groups of 8 with branches in step or free, or any number
(`odd`); one kernel position per channel; weights of one bit; taps missing; kernel positions missing everywhere."""

TRIES = 12
"""Draws for a row before it falls back on what the network is."""

SHARES = (0.1, 1.0)
BATCHES = (1, 1, 1, 2, 4, 8)


@dataclass(frozen=True)
class Base:
    """A network that variants are made of.

    Attributes:
        spec: as ``--model`` names it. family: architectures of one kind, which honest splits keep together.
        sizes: rows and columns of the images that variants take. weight: how many variants, as against others.
    """

    spec: str
    family: str
    sizes: tuple[tuple[int, int], ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Target:
    """An array on a board."""

    board: str
    array: str


@dataclass(frozen=True)
class RowPlan:
    """What row ``row`` is a variant of.

    Attributes:
        seed: of everything that is drawn for it.
    """

    row: int
    base: Base
    method: str
    target: Target
    seed: int


def targets() -> list[Target]:
    """Every built-in array on the first board that it is for, and on others whose memory is another."""
    found: list[Target] = []
    seen: set[tuple[str, float, float]] = set()
    for name in board_names(own=False):
        board = load_board(name)
        for array in board.arrays:
            key = (array, board.ddr_planned_gb_s, board.ddr_latency_ns)
            if key not in seen:
                seen.add(key)
                found.append(Target(name, array))
    return found


def plan(bases: Sequence[Base], to: Sequence[Target], rows: int, seed: int) -> list[RowPlan]:
    """``rows`` variants, those of one network and array side by side: their tilings are much alike.

    Arrays count as often as one another, however many boards carry them.
    """
    arrays = sorted({target.array for target in to})
    pairs = [(base, array) for base in bases for array in arrays]
    found: list[RowPlan] = []
    ends = np.cumsum([base.weight for base, _ in pairs])
    ends = np.round(rows * ends / ends[-1]).astype(np.int64).tolist()
    for (base, array), first, end in zip(pairs, [0, *ends], ends, strict=False):
        boards = [target for target in to if target.array == array]
        for row in range(first, end):
            method = METHODS[(row - first) % len(METHODS)]
            found.append(RowPlan(row, base, method, boards[(row - first) // len(METHODS) % len(boards)], seed))
    return found


@dataclass(frozen=True)
class Drawn:
    """A variant that was drawn.

    Attributes:
        share: filters that stay, of those that could go. batch: images per start.
    """

    graph: QGraph
    method: str
    share: float
    batch: int


def draw(row: RowPlan, graph: QGraph, batches: Sequence[int] = BATCHES) -> Drawn:
    """The variant of a row.

    Args:
        graph: the row's network, at any of its sizes.
    """
    rng = np.random.default_rng([row.seed, row.row])
    batch = int(rng.choice(batches))
    for _ in range(TRIES):
        size = row.base.sizes[int(rng.integers(len(row.base.sizes)))]
        try:
            sized = variants.resized(graph, size)
            changed, share = _pruned(row, sized, rng)
        except ShapeError:
            continue
        return Drawn(changed, row.method, share, batch)
    return Drawn(graph, "dense", 1.0, batch)


def _pruned(row: RowPlan, graph: QGraph, rng: np.random.Generator) -> tuple[QGraph, float]:
    method, array = row.method, load_array(row.target.array)
    share = float(rng.uniform(*SHARES))
    # Ways that take weights away are met in narrow networks as well as in whole ones.
    widths = method if method in ("thin", "coupled", "free", "odd") else "thin" if rng.random() < 0.7 else "dense"
    kept = 1.0
    if widths != "dense":
        graph, kept = _narrow(graph, widths, share, rng)
    layers = variants.spatial(graph)
    if method.startswith("guided"):
        graph = variants.reweighted(graph, variants.guided, layers)
    elif method == "taps":
        change = variants.without_taps(array.oc, array.ic, float(rng.uniform(*SHARES)), rng)
        graph = variants.reweighted(graph, change, _mixing(graph))
    elif method == "positions" and layers:
        most = max(
            layer.window.positions for layer in graph.layers if layer.name in layers and isinstance(layer, QConv)
        )
        graph = variants.reweighted(graph, variants.without_positions(int(rng.integers(1, most)), rng), layers)
    if "binary" in method:
        graph = variants.reweighted(graph, variants.one_bit, _mixing(graph)[1:-1])
    return graph, kept


def _mixing(graph: QGraph) -> list[str]:
    """Convolutions that mix channels and have weights of their own."""
    return [
        layer.name
        for layer in graph.layers
        if isinstance(layer, QConv) and layer.groups == 1 and len(np.unique(layer.weight)) > 2
    ]


def _narrow(graph: QGraph, how: str, share: float, rng: np.random.Generator) -> tuple[QGraph, float]:
    streams = variants.streams(graph)
    multiple = 1 if how == "odd" else 8
    filters: dict[str, Bools] = {}
    before, after = 0, 0
    for stream, makers in streams.makers.items():
        channels = streams.channels[stream]
        # Of a thin network every layer has the same share; pruning takes more here and less there.
        jitter = 1.0 if how == "thin" else float(np.exp(rng.normal(0, 0.35)))
        mask = _mask(channels, share * jitter, multiple, rng, ordered=how == "thin")
        for name in makers:
            own = how == "free" and len(makers) > 1
            filters[name] = _mask(channels, share * float(np.exp(rng.normal(0, 0.35))), multiple, rng) if own else mask
            before, after = before + channels, after + int(filters[name].sum())
    return variants.narrowed(graph, filters), after / max(before, 1)


def _mask(channels: int, share: float, multiple: int, rng: np.random.Generator, *, ordered: bool = False) -> Bools:
    count = int(np.clip(round(share * channels / multiple) * multiple, min(multiple, channels), channels))
    mask = np.zeros(channels, dtype=np.bool_)
    mask[np.arange(count) if ordered else rng.permutation(channels)[:count]] = True
    return mask
