"""A program as readable text, from its encoded image alone: layers, steps, blocks, taps.

What is shown is what the engine will read, so a fault of the compiler shows here and not only on the board. Output is
bounded: a listing says how much it left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.program import Plane, Program
from proprune_cli.errors import InputError, UsageError


@dataclass(frozen=True)
class Limits:
    """How much of each part is listed."""

    steps: int = 4
    blocks: int = 4
    taps: int = 12


def disassemble(
    program: Program, array: Array, layer: str | None = None, limits: Limits | None = None
) -> Iterator[str]:
    """Lines of the listing.

    Args:
        layer: name or index of the one layer to list; None: all of them.
        limits: how much to list of each layer; None: `Limits()`.

    Raises:
        UsageError: no layer has that name.
        InputError: the image is inconsistent; the message names the place.
    """
    shown = limits or Limits()
    chosen = range(program.layer_count) if layer is None else [_index(program, layer)]
    yield (
        f"program: array {program.array}, contract {program.digest[:16]}, image {len(program.image)} words, "
        f"buffer {program.size} words ({program.bytes / 2**20:.2f} MiB), {program.layer_count} layers"
        + (f", {program.batch} images per start" if program.batch > 1 else "")
    )
    yield f"input  {_plane(program.input)}"
    several = len(program.outputs) > 1
    for output in program.outputs:
        yield f"output {_plane(output.plane)}" + (f" {output.name!r}" if several else "")
    table = program.layers()
    for number in chosen:
        yield from _host_steps(program, number)
        yield ""
        yield from _layer(program, array, table, number, shown)
    if layer is None:
        yield from _host_steps(program, program.layer_count)


def _index(program: Program, layer: str) -> int:
    if layer in program.layer_names:
        return program.layer_names.index(layer)
    if layer.isdecimal() and int(layer) < program.layer_count:
        return int(layer)
    names = ", ".join(program.layer_names[:12]) + (", …" if program.layer_count > 12 else "")
    raise UsageError(
        f"no layer is called {layer!r}",
        where="--layer",
        remedy=f"give a number below {program.layer_count} or one of {names}",
    )


def _host_steps(program: Program, after: int) -> Iterator[str]:
    """What the host computes after ``after`` layers."""
    for number, step in enumerate(program.host_steps):
        if step.after == after:
            yield ""
            yield f"host step {number} {step.name!r}: {', '.join(step.operators)}, {len(step.model)} bytes of ONNX"
            for plane in step.inputs:
                yield f"  reads  {_plane(plane)}"
            yield f"  writes {_plane(step.output)}"


def _layer(program: Program, array: Array, table: isa.LayerDescriptor, number: int, limits: Limits) -> Iterator[str]:
    name = program.layer_names[number]
    d: Any = table.row(number)
    flags = [
        "relu" if d.relu_before else "",
        f"table at {_at(d.lookup_table)}" if d.lookup == isa.Lookup.BEFORE else "",
        _combination(d),
        "relu after" if d.relu_after else "",
        f"table at {_at(d.lookup_table)} after" if d.lookup == isa.Lookup.AFTER else "",
    ]
    yield f"layer {number} {name!r} at {_at(program.layer_table + number * isa.LayerDescriptor.WORDS)}:"
    text = " ".join(f for f in flags if f)
    words = f"{isa.Mode(d.mode).name} {text}".rstrip()
    yield f"  {words}, stride {d.stride_y}×{d.stride_x}, pad code {d.pad_value}"
    yield (
        f"  in {d.in_height}×{d.in_width}, rows of {d.in_pitch} words, planes at {_at(d.group_table)}; "
        f"out at {_at(d.out_base)}, {d.out_plane} words a plane, rows of {d.out_pitch}, "
        f"every {d.out_step_y}×{d.out_step_x} pixels"
        + (f"; residual planes at {_at(d.residual_table)}" if d.combine else "")
    )
    yield (
        f"  banks: pitch {d.pitch}, chunk of {d.groups_per_chunk} groups in {d.chunk_cells} cells; "
        f"{d.pattern_count} lane patterns at {_at(d.pattern_table)}"
    )
    patterns = _words(program, d.pattern_table, d.pattern_count * array.pattern_words, f"the patterns of {name}")
    for index, offsets in enumerate(patterns.view("<u2").reshape(-1, array.ic)[: limits.taps].tolist()):
        yield f"    pattern {index}: {_runs(offsets)}"
    yield from _more(d.pattern_count, limits.taps, "patterns", 4)
    _words(program, d.step_table, d.step_count * isa.StepDescriptor.WORDS, f"the steps of {name}")
    steps = program.steps(d)
    yield from _inputs(program, d, steps, limits)
    ends = np.cumsum(table.step_count)
    for index in range(min(d.step_count, limits.steps)):
        s: Any = steps.row(index)
        awaited = _awaited(program, ends, number, index, s.depends)
        yield from _step(program, array, s, index, awaited, name, limits)
    yield from _more(d.step_count, limits.steps, "steps", 2)


def _inputs(program: Program, d: Any, steps: isa.StepDescriptor, limits: Limits) -> Iterator[str]:
    """Where the input planes lie."""
    count = int(np.max(np.asarray(steps.first_group) + np.asarray(steps.groups), initial=0))
    planes = _words(program, d.group_table, count, "the input planes") & np.uint64(0xFFFFFFFF)
    yield f"  reads planes {' '.join(_at(plane) for plane in planes[: limits.taps].tolist())}"
    yield from _more(count, limits.taps, "planes", 4)


def _awaited(program: Program, ends: NDArray[np.int64], layer: int, step: int, depends: int) -> str:
    """What a step waits for, from its ``depends``. ``ends``: int64 [layers], steps up to the end of each layer."""
    if depends > isa.STEPS_IN_FLIGHT:
        return f"waits for the step {depends} before it, which no engine allows"
    starts = ends - np.diff(ends, prepend=0)
    wanted = int(starts[layer]) + step - (depends or isa.STEPS_IN_FLIGHT)
    # The engine is started anew after a step of the host, and everything before is complete then.
    run = max((host.after for host in program.host_steps if host.after <= layer), default=0)
    if wanted < starts[run]:
        return "waits for nothing"
    of = int(np.searchsorted(ends, wanted, side="right"))
    return f"waits for step {wanted - starts[of]}" + (f" of {program.layer_names[of]!r}" if of != layer else "")


def _combination(d: Any) -> str:
    """What is done with the residual operand, '' for nothing."""
    each = " of one word each" if d.broadcast else ""
    if d.combine == isa.Combine.ADD:
        verb = "subtract" if d.subtract else "add"
        return f"{verb}(<<{d.shift_a}, residual{each}<<{d.shift_b}, >>{d.shift_y})"
    if d.combine == isa.Combine.MULTIPLY:
        return f"multiply(residual{each}, <<{d.shift_a}, >>{d.shift_y})"
    return ""


def _step(
    program: Program, array: Array, s: Any, number: int, awaited: str, name: str, limits: Limits
) -> Iterator[str]:
    yield (
        f"  step {number}: load groups {_span(s.first_group, s.groups)}, rows {_span(s.y0, s.rows)}, "
        f"columns {_span(s.x0, s.cols)}; make rows {_span(s.oy0, s.tile_height)}, columns {_span(s.ox0, s.tile_width)}"
    )
    yield (
        f"    {s.taps} taps × {s.beats} beats = {s.iterations} iterations; {s.blocks} blocks, {s.emit_blocks} emit "
        f"{s.emit_groups} groups; weights at {_at(s.weights)}, {s.weight_words} words; {awaited}"
    )
    where = f"layer {name}, step {number}"
    stream = _words(program, s.weights, s.weight_words, where)
    at = 0
    for index in range(min(s.blocks, limits.blocks)):
        at = yield from _block(stream, at, array, index, where, limits)
    yield from _more(s.blocks, limits.blocks, "blocks", 4)


def _block(stream: Words, at: int, array: Array, number: int, where: str, limits: Limits) -> Iterator[str]:
    """Lines of the block at word ``at`` of a step's stream; returns the word after it."""
    head: Any = isa.BlockHeader.decode(_part(stream, at, 1, where)).row(0)
    body = _part(stream, at, array.block_words, where)
    biases = body[1 : 1 + array.oc // 2].view("<i4")
    multipliers = body[1 + array.oc // 2 : 1 + array.oc // 2 + array.oc // 4].view("<u2")
    verbs = ["init" if head.init else "continue"]
    if head.emit:
        verbs.append(f"emit groups {_span(head.out_group, head.groups)}")
    yield f"    block {number}: slot {head.slot}, {', '.join(verbs)}; {head.taps} taps"
    if head.init:
        yield f"      bias {biases.tolist()}"
    if head.emit:
        yield f"      multiplier {multipliers.tolist()}"
    at += array.block_words
    for index in range(head.taps):
        tap: Any = isa.TapHeader.decode(_part(stream, at, 1, where)).row(0)
        length = array.reuse_tap_words if tap.reuse else array.binary_tap_words if tap.binary else array.tap_words
        words = _part(stream, at, length, where)
        if index < limits.taps:
            weights = words[1 : 1 + array.ic * array.oc // isa.WORD_BYTES].view(np.int8)
            held = f"{np.count_nonzero(weights)}/{weights.size} weights not 0"
            if tap.reuse:
                held = "same weights"
            elif tap.binary:
                held = f"weights of one bit from {int(tap.lanes).bit_count()}/{array.ic} lanes"
            yield f"      tap {index}: base {tap.base}, pattern {tap.pattern}, {held}"
        at += length
    yield from _more(head.taps, limits.taps, "taps", 6)
    return at


def _words(program: Program, address: int, count: int, where: str) -> Words:
    if address + count > len(program.image):
        raise InputError(
            f"the program points outside its image ({_at(address)} and {count} words on)",
            where=where,
            remedy="compile the network again",
        )
    return program.image[address : address + count]


def _part(stream: Words, at: int, count: int, where: str) -> Words:
    if at + count > len(stream):
        raise InputError(
            f"the weight stream ends in the middle of a record (word {at})",
            where=where,
            remedy="compile the network again",
        )
    return stream[at : at + count]


def _plane(plane: Plane) -> str:
    size = f"{plane.channels}×{plane.height}×{plane.width}"
    return f"{size} at {_at(plane.address)}, {plane.words} words, scale 2^{plane.exponent}"


def _at(address: int) -> str:
    if address & isa.ON_CHIP:
        return f"chip:0x{address ^ isa.ON_CHIP:04x}"
    return f"0x{address:06x}"


def _span(first: int, count: int) -> str:
    return f"{first}" if count == 1 else f"{first}…{first + count - 1}"


def _runs(offsets: list[int]) -> str:
    """Lane offsets with repetitions folded: ``0×8 1×8``."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and runs[-1][0] == offset:
            runs[-1] = (offset, runs[-1][1] + 1)
        else:
            runs.append((offset, 1))
    return " ".join(f"{offset}×{count}" if count > 1 else f"{offset}" for offset, count in runs)


def _more(count: int, shown: int, what: str, indent: int) -> Iterator[str]:
    if count > shown:
        yield f"{' ' * indent}… {count - shown} more {what}"
