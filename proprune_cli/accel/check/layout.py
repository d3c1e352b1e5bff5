"""What the manifest says of a program's memory: sizes, tables, tensors. Its numbers may be any integers."""

from __future__ import annotations

from collections.abc import Iterator

from proprune_cli.accel import isa
from proprune_cli.accel.program import Plane, Program

MAX_WORDS = 1 << 27
"""Words of the largest buffer, 1 GiB: more than any board's contiguous memory, and less than would stop a host."""

MAX_EXTENT = 0xFFFF
"""Rows and columns of a plane: descriptors count them in 16 bits."""

MAX_EXPONENT = 126
"""Largest magnitude of an exponent: a power of two that float32 holds as a normal number."""


def layout_faults(program: Program) -> list[str]:
    """What is wrong with sizes, tables and tensors; empty where nothing is."""
    p = program
    image, tables = p.image.size, p.layer_count * isa.LayerDescriptor.WORDS
    counters_end = p.counters + p.layer_count * isa.LayerCounters.WORDS
    faults: list[str] = []
    if not 1 <= p.size <= MAX_WORDS:
        faults.append(f"a buffer of {p.size} words (1 to {MAX_WORDS}, which is {MAX_WORDS >> 17} MiB, can be had)")
    if image > p.size:
        faults.append(f"an image of {image} words in a buffer of {p.size}")
    if not p.layer_count:
        faults.append("no layer")
    if not 0 <= p.layer_table <= image - tables:
        faults.append(f"a table lies outside the program: {p.layer_count} layers at {p.layer_table} of {image} words")
    if not image <= p.counters or counters_end > p.size:
        faults.append(
            f"a table lies outside the program: the counters [{p.counters}, {counters_end}) must lie in "
            f"[{image}, {p.size}), behind the image"
        )
    if p.batch < 1:
        faults.append(f"the tensors do not hold {p.batch} images")
    for name, plane, written in _planes(p):
        faults += _plane_faults(p, name, plane, written, (p.counters, counters_end))
    after = [0, *(step.after for step in p.host_steps), p.layer_count]
    if after != sorted(after):
        faults.append("a host step does not stand between layers, in order")
    return faults


def _planes(program: Program) -> Iterator[tuple[str, Plane, bool]]:
    """Every tensor that the processor reads or writes, its name in messages, and whether it is written."""
    yield "the input tensor", program.input, True
    for output in program.outputs:
        yield "the output tensor", output.plane, False
    for number, step in enumerate(program.host_steps):
        for plane in step.inputs:
            yield f"a tensor that host step {number} reads", plane, False
        yield f"the tensor that host step {number} writes", step.output, True


def _plane_faults(program: Program, name: str, plane: Plane, written: bool, counters: tuple[int, int]) -> Iterator[str]:
    extents = f"[{plane.channels}, {plane.height}, {plane.width}]"
    if min(plane.channels, plane.height, plane.width) < 1 or max(plane.height, plane.width) > MAX_EXTENT:
        yield f"{name} {extents} is no tensor"
        return
    start, end = plane.address, plane.address + plane.words
    lowest = program.image.size if written else 0
    if start < 0 or end > program.size:
        yield f"{name} lies outside the buffer: {extents} at {start} takes words [{start}, {end}) of {program.size}"
    elif start < lowest:
        yield f"{name} lies outside the tensors' memory: [{start}, {end}) begins inside the image of {lowest} words"
    elif written and start < counters[1] and counters[0] < end:
        yield f"{name} lies outside the tensors' memory: [{start}, {end}) is also the counters'"
    if abs(plane.exponent) > MAX_EXPONENT:
        yield f"{name} has the scale 2^{plane.exponent}, beyond 2^±{MAX_EXPONENT}"
    if program.batch >= 1 and plane.height % program.batch:
        yield f"the tensors do not hold {program.batch} images: {name} has {plane.height} rows"
