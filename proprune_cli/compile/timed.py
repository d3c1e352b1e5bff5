"""Cycles of a quantised network's program without the program: taps, tiling, places and waits, but no emission.

The loop model walks the same steps as on an encoded program (`proprune_cli.accel.timing.estimate`), so the figures are
the same; encoding weights and descriptors is left out, which most of the time goes into.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import Timing, estimate_passes
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.lower.batch import batched
from proprune_cli.compile.lower.emit import lifetimes
from proprune_cli.compile.lower.engine_layer import EngineGraph
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.lower.on_chip import choose, groups_on_chip
from proprune_cli.compile.lower.tile import Choices
from proprune_cli.compile.lower.waits import waits
from proprune_cli.compile.lower.weight_stream import TiledLayer, lane_patterns, tiled_layers
from proprune_cli.ir.quantized import QGraph
from proprune_cli.work.macs import ArrayMacs


@dataclass(frozen=True)
class Timed:
    """A network's passes with what each of them costs, of one start.

    Attributes:
        graph: the passes and the tensors in memory.
        layers: taps and tiling of each pass. macs: issued and useful ones of each.
        stops: numbers of passes before which the engine stops for the processor.
    """

    graph: EngineGraph
    layers: tuple[TiledLayer, ...]
    timing: Timing
    macs: tuple[ArrayMacs, ...]
    stops: tuple[int, ...]


def timed(graph: QGraph, array: Array, memory: Memory, batch: int = 1, known: Choices | None = None) -> Timed:
    """What the program of ``graph`` costs.

    Args:
        batch: images per start.
        known: tilings met before with this array and memory, added to.

    Raises:
        UsageError: ``batch`` is less than 1.
        DoesNotFitError: a layer fits no tile.
    """
    passes = batched(fuse(cluster(graph)[0]), batch, array)
    layers = tiled_layers(passes.layers, array, memory, known)
    tilings = [t.tiling for t in layers]
    # A twin has the taps of the pass before it; what is counted of them is counted once.
    counted: list[tuple[int, ArrayMacs]] = []
    for t in layers:
        twin = t.layer.twin
        counted.append((len(lane_patterns(t, array)[0]), array_macs(t, array)) if twin is None else counted[twin])
    on_chip = choose(passes, tilings, lifetimes(passes, layers), array)
    timing = estimate_passes(
        tuple(t.layer.name for t in layers),
        [t.tiling.layer for t in layers],
        [t.tiling.steps for t in layers],
        [found[0] for found in counted],
        [t.layer.y in on_chip for t in layers],
        [groups_on_chip(t.layer, t.tiling, on_chip) for t in layers],
        waits(passes.layers, tilings),
        tuple(step.after for step in passes.host),
        array,
        memory,
    )
    stops = tuple(step.after for step in passes.host)
    return Timed(passes, layers, timing, tuple(macs for _, macs in counted), stops)
