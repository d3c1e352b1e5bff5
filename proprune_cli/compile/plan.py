"""Makes the plan: what the compiler decided for each layer and what the timing model predicts for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.program import Plane, Program
from proprune_cli.accel.timing import Timing
from proprune_cli.compile.cluster.streams import Stream
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.lower.weight_stream import TiledLayer
from proprune_cli.work.macs import ArrayMacs, NetworkMacs, utilisation
from proprune_cli.work.plan import HostStepPlan, LayerPlan, Plan, PlanTotals, StreamPlan


def make_plan(
    layers: tuple[TiledLayer, ...],
    program: Program,
    timing: Timing,
    array: Array,
    asked: NetworkMacs,
    streams: tuple[Stream, ...] = (),
    host: tuple[str, ...] = (),
) -> Plan:
    """The plan of a program. Cycles are predicted by ``totals.model``.

    A layer that repeats another for the next image of a batch names that one's number as its ``twin``. The totals are
    of one start, and the engine's alone: the time of the host's steps is predicted by ``proprune bench``.

    Args:
        asked: multiply-accumulates that the network asks for, of one start.
        streams: those whose channels were brought into another order. host: operators after the engine's part.
    """
    done = [array_macs(t, array) for t in layers]
    total = sum(done, ArrayMacs())
    return Plan(
        layers=tuple(
            _layer(t, index, flow, timing, array, own)
            for index, (t, flow, own) in enumerate(zip(layers, _flows(program), done, strict=True))
        ),
        streams=tuple(StreamPlan(s.channels, tuple(s.tensors), tuple(s.writers), s.before, s.after) for s in streams),
        host_steps=tuple(
            HostStepPlan(s.name, s.operators, s.after, tuple(_shape(x) for x in s.inputs), _shape(s.output))
            for s in program.host_steps
        ),
        totals=PlanTotals(
            model=timing.model,
            batch=program.batch,
            cycles=timing.cycles,
            latency_ms=timing.latency_ms,
            clock_mhz=timing.clock_mhz,
            macs=asked.dense,
            nonzero_macs=asked.nonzero,
            issued_macs=total.issued,
            useful_macs=total.useful,
            mac_utilisation=utilisation(total.useful, timing.cycles, array.macs_per_cycle),
            ddr_bytes=timing.ddr_bytes,
            program_bytes=len(program.image) * 8,
            buffer_bytes=program.bytes,
        ),
        host=host,
    )


class _Flow(NamedTuple):
    """Where a layer's tensors lie, and how many of its steps may start before the layer before is done."""

    input_groups: int
    input_groups_on_chip: int
    output_on_chip: bool
    early_steps: int


def _flows(program: Program) -> Iterator[_Flow]:
    layers = program.layers()
    begin = 0
    for index in range(program.layer_count):
        layer = layers.row(index)
        steps = program.steps(layer)
        groups = int((np.asarray(steps.first_group) + np.asarray(steps.groups)).max())
        planes = program.image[int(layer.group_table) : int(layer.group_table) + groups]
        depends = np.asarray(steps.depends)
        distance = np.where(depends > 0, depends, isa.STEPS_IN_FLIGHT)
        must_be_complete = begin + np.arange(len(distance)) + 1 - distance
        yield _Flow(
            input_groups=groups,
            input_groups_on_chip=int(((planes & np.uint64(isa.ON_CHIP)) > 0).sum()),
            output_on_chip=bool(int(layer.out_base) & isa.ON_CHIP),
            early_steps=int((must_be_complete < begin).sum()),
        )
        begin += len(distance)


def _shape(plane: Plane) -> tuple[int, int, int]:
    return plane.channels, plane.height, plane.width


def _layer(tiled: TiledLayer, index: int, flow: _Flow, timing: Timing, array: Array, done: ArrayMacs) -> LayerPlan:
    layer, tiling, predicted = tiled.layer, tiled.tiling, timing.layers[index]
    kept = int(tiled.taps.kept.sum())
    units = [unit for row in tiled.taps.units for unit in row]
    possible = sum(unit.possible for unit in units)
    return LayerPlan(
        work=tiled.work,
        unit=layer.kind,
        twin=layer.twin,
        combine=layer.residual.combine.name.lower() if layer.residual else None,
        lookup=layer.lookup.name.lower() if layer.table is not None else None,
        residual=tuple(sorted(layer.residual.view.storages)) if layer.residual else None,
        taps=kept,
        taps_dropped=possible - kept,
        taps_with_own_offsets=sum(int(unit.keep.sum()) for unit in units if unit.own_offsets),
        taps_of_one_bit=sum(int(unit.binary.sum()) for unit in units),
        positions_per_tap=tiled.taps.layout.full.slots,
        tile=tiling.tile,
        steps=int(tiling.layer.step_count),
        segments=len(tiling.segments),
        tilings_considered=tiling.considered,
        cycles_of_next_best_tiling=None if tiling.behind is None else predicted.cycles + tiling.behind,
        chunks_per_step=tiling.segments[0].chunks[1] - tiling.segments[0].chunks[0],
        cycles=predicted.cycles,
        iterations=predicted.iterations,
        memory_cycles=predicted.memory_cycles,
        ddr_bytes=predicted.ddr_bytes,
        bound=predicted.bound,
        issued_macs=done.issued,
        useful_macs=done.useful,
        mac_utilisation=utilisation(done.useful, predicted.cycles_at_work, array.macs_per_cycle),
        **flow._asdict(),
    )
