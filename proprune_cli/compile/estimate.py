"""Cycles of a network from the work of its layers: what budgets are counted with while channels are chosen.

The layers are made passes of the engine, as lowering would, and the timing model walks those. Nothing is approximated
but what the work does not say: which tensors a layer reads (``LayerWork.flow``), and which of its weights are zero
(``LayerWork.survivors``). Passes that were met before are remembered, so that a search which changes a layer or two
at a time pays for those alone. ``benchmarks/bench_estimate.py`` compares with compiled programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import Timing, estimate_passes
from proprune_cli.compile.lower.allocate import Lifetime
from proprune_cli.compile.lower.engine_layer import EngineLayer, GroupRef
from proprune_cli.compile.lower.on_chip import groups_on_chip, place
from proprune_cli.compile.lower.tile import Choices, Tiling
from proprune_cli.compile.lower.waits import waits
from proprune_cli.compile.shapes import ShapedPass, shaped_passes
from proprune_cli.work.layer import Flow, LayerWork, square

MODEL = "proprune shape model 5"
"""Name under which its figures are reported."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """What a network is predicted to ask of an array for one image.

    Attributes:
        cycles: of each layer, from the end of the one before to its own: int64 [layers].
        issued_of: multiply-accumulates that the array issues for each, as `proprune_cli.work.macs` defines them.
        ddr_bytes_of: that DDR is kept busy for by each.
    """

    cycles: Ints
    issued_of: Ints
    ddr_bytes_of: Ints

    @property
    def issued(self) -> int:
        """Of all layers."""
        return int(self.issued_of.sum())

    @property
    def ddr_bytes(self) -> int:
        """Of all layers."""
        return int(self.ddr_bytes_of.sum())


@dataclass(frozen=True)
class ShapeModel:
    """The estimator for one array and memory."""

    array: Array
    memory: Memory
    _tilings: Choices = field(default_factory=dict[Any, Tiling], repr=False)
    _passes: dict[Any, tuple[ShapedPass, ...]] = field(
        default_factory=dict[Any, "tuple[ShapedPass, ...]"], repr=False, compare=False
    )
    _layers: dict[Any, list[EngineLayer]] = field(
        default_factory=dict[Any, "list[EngineLayer]"], repr=False, compare=False
    )

    def estimate(self, works: Sequence[LayerWork]) -> Estimate:
        """What a network of these layers is predicted to ask for.

        Raises:
            DoesNotFitError: a layer fits no tile of the array.
        """
        if not works:
            nothing = np.zeros(0, dtype=np.int64)
            return Estimate(nothing, nothing, nothing)
        passes = [self._of(work) for work in works]
        timing = self._walk(_flows(works), passes)
        starts = np.cumsum([0, *(len(p) for p in passes)])[:-1]

        def of_layers(made: list[int]) -> Ints:
            return np.add.reduceat(np.array(made, dtype=np.int64), starts)

        return Estimate(
            of_layers([layer.cycles for layer in timing.layers]),
            of_layers([one.issued for of in passes for one in of]),
            of_layers([layer.ddr_bytes for layer in timing.layers]),
        )

    def cycles(self, works: Sequence[LayerWork]) -> Ints:
        """Predicted cycles of each layer, see `estimate`: int64 [layers]."""
        return self.estimate(works).cycles

    def _of(self, work: LayerWork) -> tuple[ShapedPass, ...]:
        """The passes of a layer, remembered by everything but names."""
        flow = work.flow
        inner = None if flow is None else (flow.broadcast, flow.slots, flow.pitch, flow.top, flow.phase, flow.lookup)
        key = (
            (work.kind, work.in_channels, work.out_channels, work.groups, work.residual, work.constant, work.taps),
            (work.kernel, work.stride, work.dilation, work.pads, work.in_size, work.out_size),
            (work.survivors, inner),
        )
        found = self._passes.get(key)
        if found is None:
            found = self._passes[key] = shaped_passes(work, self.array, self.memory, self._tilings)
        return found

    def _walk(self, flows: list[Flow], passes: list[tuple[ShapedPass, ...]]) -> Timing:
        layers: list[EngineLayer] = []
        tilings: list[Tiling] = []
        patterns: list[int] = []
        stops: list[int] = []
        outside = {flow.writes for flow in flows if flow.in_ddr}
        for flow, shaped in zip(flows, passes, strict=True):
            if flow.restart:
                stops.append(len(layers))
            layers += self._placed(shaped, flow)
            tilings += [p.tiling for p in shaped]
            patterns += [p.patterns for p in shaped]
        written, read = {layer.y for layer in layers}, {name for layer in layers for name in layer.reads}
        outside |= written ^ read
        on_chip = place(layers, tilings, _lifetimes(layers), outside, stops, self.array)
        return estimate_passes(
            tuple(layer.name for layer in layers),
            [tiling.layer for tiling in tilings],
            [tiling.steps for tiling in tilings],
            patterns,
            [layer.y in on_chip for layer in layers],
            [groups_on_chip(layer, tiling, on_chip) for layer, tiling in zip(layers, tilings, strict=True)],
            waits(layers, tilings),
            tuple(stops),
            self.array,
            self.memory,
        )

    def _placed(self, shaped: tuple[ShapedPass, ...], flow: Flow) -> list[EngineLayer]:
        """The passes with the tensors that they read and write."""
        # Passes are remembered, so that no other one ever takes the place of one in memory.
        found = self._layers.get((id(shaped), flow))
        if found is None:
            found = self._layers[id(shaped), flow] = [_placed(p.layer, flow) for p in shaped]
        return found


def _flows(works: Sequence[LayerWork]) -> list[Flow]:
    """What each layer reads and writes; a layer that does not say reads the last tensor of its input's shape, or,
    where none is, what the layer before it wrote."""
    made: list[tuple[str, tuple[int, ...]]] = [("input", ())]
    flows: list[Flow] = []
    for number, work in enumerate(works):
        flow = work.flow
        if flow is None:
            shape = (work.in_channels, *square(work.in_size))
            source = next((name for name, of in reversed(made) if of == shape), made[-1][0])
            flow = Flow(((source, -(-work.in_channels // isa.GROUP)),), f"tensor {number}")
        made.append((flow.writes, (work.out_channels, *square(work.out_size))))
        flows.append(flow)
    return flows


def _placed(layer: EngineLayer, flow: Flow) -> EngineLayer:
    """The pass with the tensors that it reads and writes."""
    groups: tuple[GroupRef, ...] = tuple((name, g) for name, count in flow.reads for g in range(count))
    residual = layer.residual
    if residual is not None:
        operand = tuple((name, 0) for name in flow.operand)
        residual = replace(residual, view=replace(residual.view, groups=operand))
    return replace(layer, view=replace(layer.view, groups=groups), y=flow.writes, residual=residual)


def _lifetimes(layers: Sequence[EngineLayer]) -> list[Lifetime]:
    """From the first layer that writes a tensor to the last that reads it."""
    born: dict[str, int] = {}
    dies: dict[str, int] = {}
    words: dict[str, int] = {}
    for number, layer in enumerate(layers):
        born.setdefault(layer.y, number)
        height, width = layer.output.plane
        words[layer.y] = -(-layer.channels // isa.GROUP) * height * width
        for name in (*layer.reads, layer.y):
            dies[name] = number
    return [Lifetime(name, words[name], first, dies[name]) for name, first in born.items()]
