"""Which steps of a program read what other steps write, found word by word from its image: the exact waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.program import Program

Addresses = NDArray[np.int64]


def steps_in_order(program: Program) -> Iterator[tuple[isa.LayerDescriptor, isa.StepDescriptor, int]]:
    """Every step with its layer and the address of its descriptor."""
    layers = program.layers()
    for number in range(program.layer_count):
        layer = layers.row(number)
        steps = program.steps(layer)
        for index in range(int(layer.step_count)):
            yield layer, steps.row(index), int(layer.step_table) + index * isa.StepDescriptor.WORDS


def words_read(program: Program, array: Array, layer: isa.LayerDescriptor, s: isa.StepDescriptor) -> Addresses:
    """Addresses of input and residual words, in no order."""
    table = program.image[int(layer.group_table) + int(s.first_group) :][: int(s.groups)].astype(np.int64)
    y = np.arange(max(int(s.y0), 0), min(int(s.y0) + int(s.rows), int(layer.in_height)))
    x = np.arange(max(int(s.x0), 0), min(int(s.x0) + int(s.cols), int(layer.in_width)))
    read = [(table[:, None, None] + y[:, None] * int(layer.in_pitch) + x).reshape(-1)]
    if int(layer.combine) != isa.Combine.NONE:
        for block in emitting(program, array, s):
            planes = program.image[int(layer.residual_table) + int(block.out_group) :][: int(block.groups)]
            pixels = np.zeros(1, dtype=np.int64) if layer.broadcast else output_pixels(layer, s)
            read.append((planes.astype(np.int64)[:, None] + pixels).reshape(-1))
    return np.concatenate(read)


def words_written(program: Program, array: Array, layer: isa.LayerDescriptor, s: isa.StepDescriptor) -> Addresses:
    groups = [
        np.arange(int(b.out_group), int(b.out_group) + int(b.groups), dtype=np.int64)
        for b in emitting(program, array, s)
    ]
    planes = int(layer.out_base) + np.concatenate([np.zeros(0, dtype=np.int64), *groups]) * int(layer.out_plane)
    return (planes[:, None] + output_pixels(layer, s)).reshape(-1)


def output_pixels(layer: isa.LayerDescriptor, s: isa.StepDescriptor) -> Addresses:
    y = (int(s.oy0) + np.arange(int(s.tile_height))) * int(layer.out_step_y) * int(layer.out_pitch)
    return (y[:, None] + (int(s.ox0) + np.arange(int(s.tile_width))) * int(layer.out_step_x)).reshape(-1)


def emitting(program: Program, array: Array, s: isa.StepDescriptor) -> Iterator[isa.BlockHeader]:
    at = int(s.weights)
    for _ in range(int(s.blocks)):
        block = isa.BlockHeader.decode(program.image[at : at + 1]).row(0)
        at += array.block_words
        for _ in range(int(block.taps)):
            tap = isa.TapHeader.decode(program.image[at : at + 1]).row(0)
            at += array.reuse_tap_words if tap.reuse else array.binary_tap_words if tap.binary else array.tap_words
        if block.emit:
            yield block


def distances(program: Program, array: Array) -> list[int]:
    """For each step, how many steps before it the newest one is that wrote something it reads; 0: none wrote any.

    Where the host computes something, the engine starts anew and everything before is complete.
    """
    writer = {0: np.full(program.size, -1), isa.ON_CHIP: np.full(array.scratch_words, -1)}
    ends = np.cumsum([0, *np.asarray(program.layers().step_count).tolist()])
    starts = {int(ends[host.after]) for host in program.host_steps}
    found: list[int] = []
    for number, (layer, s, _) in enumerate(steps_in_order(program)):
        if number in starts:
            for last in writer.values():
                last[...] = -1
        read, written = (words(program, array, layer, s) for words in (words_read, words_written))
        newest = -1
        for place, last in writer.items():
            here = read[(read & isa.ON_CHIP) == place] & ~isa.ON_CHIP
            newest = max(newest, *last[here].tolist(), -1)
            last[written[(written & isa.ON_CHIP) == place] & ~isa.ON_CHIP] = number
        found.append(number - newest if newest >= 0 else 0)
    return found


def with_depends(program: Program, depends: list[int]) -> Program:
    """The program with these ``depends``; more than STEPS_IN_FLIGHT needs no waiting and becomes 0."""
    image = program.image.copy()
    for (_, s, at), n in zip(steps_in_order(program), depends, strict=True):
        waiting = replace(s, depends=n if n <= isa.STEPS_IN_FLIGHT else 0)
        image[at : at + isa.StepDescriptor.WORDS] = waiting.encode()[0]
    return replace(program, image=image)


def step_count(program: Program) -> int:
    return int(np.sum(program.layers().step_count))
