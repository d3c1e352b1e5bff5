"""The check of programs: what it refuses, and that no address of the contract was forgotten."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace

import numpy as np
import pytest

from proprune_cli.accel import isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.bitfield import Record
from proprune_cli.accel.check import MAX_ITERATIONS, LayerSteps, check_program, layout_faults, work_faults
from proprune_cli.accel.check.program import ADDRESSES
from proprune_cli.accel.check.work import MAX_LAYER_ITERATIONS
from proprune_cli.accel.program import Plane, Program
from proprune_cli.artifact import Artifact
from proprune_cli.errors import InputError

ARRAY = load_array("z7020-256")


def with_field(program: Program, record: type[Record], at: int, **fields: int) -> Program:
    """A program with fields of the record at word ``at`` changed."""
    image = program.image.copy()
    row = record.decode(image[at : at + record.WORDS].copy()).row(0)
    image[at : at + record.WORDS] = record(**{**row.__dict__, **fields}).encode()[0]
    return replace(program, image=image)


def layer_at(program: Program, number: int = 0) -> int:
    return program.layer_table + number * isa.LayerDescriptor.WORDS


def step_at(program: Program, number: int = 0) -> int:
    return int(program.layers().row(number).step_table)


def test_a_compiled_program_passes_and_its_work_is_the_plans(artifact: Artifact) -> None:
    found = check_program(artifact.program, ARRAY)
    assert [(layer.steps, layer.iterations) for layer in found] == [
        (layer.steps, layer.iterations) for layer in artifact.plan.layers
    ]
    assert not list(work_faults(found, artifact.plan.layers))


def test_every_address_of_the_contract_is_checked() -> None:
    """By their prose, not by their flag: whoever writes "address of" means one."""
    said = {(r, n) for r in isa.RECORDS for n, p in r.layout().items() if p.doc.startswith("address of")}
    assert {*ADDRESSES, (isa.StepDescriptor, "weights")} == {*said, (isa.StepDescriptor, "weights")}


@pytest.mark.parametrize(("record", "name"), sorted(ADDRESSES, key=lambda key: key[1]), ids=lambda x: str(x)[-20:])
def test_every_address_is_kept_off_what_it_must_not_reach(artifact: Artifact, record: type, name: str) -> None:
    """What is read as program lies in the image; what is written neither there nor in the counters, nor outside."""
    program = artifact.program
    # The layer that adds and has a residual operand; all have the rest.
    number = next(n for n in range(program.layer_count) if program.layers().row(n).combine)
    at = layer_at(program, number) if record is isa.LayerDescriptor else step_at(program, number)
    image, size = program.image.size, program.size
    for value in (image, image + 1, size - 1, size, 2**31 - 1, 2**31, 2**32 - 1):
        if name == "out_base" and (value < size - 1 or value == isa.ON_CHIP):
            continue  # the tensors' memory, and the start of the engine's own
        changed = with_field(program, record, at, **{name: value})
        if name == "lookup_table":
            changed = with_field(changed, record, at, lookup=isa.Lookup.AFTER)
        with pytest.raises(InputError, match="inconsistent program"):
            check_program(changed, ARRAY)
    if name == "out_base":
        # Each word of the image and of the counters, from a plane's first to its last.
        for value in (0, 1, image // 2, image - 1, program.counters):
            with pytest.raises(InputError, match="reach into the"):
                check_program(with_field(program, record, at, out_base=value), ARRAY)


@pytest.mark.parametrize("counters", [0, 5, 12, -1])
def test_counters_are_not_written_over_the_program(artifact: Artifact, counters: int) -> None:
    with pytest.raises(InputError, match=r"the counters .* must lie in"):
        check_program(replace(artifact.program, counters=counters), ARRAY)


def test_the_input_is_not_written_over_the_program(artifact: Artifact) -> None:
    program = artifact.program
    for address in (0, program.image.size - 1, program.counters, program.size - 1, -1, 2**70):
        moved = replace(program, input=replace(program.input, address=address))
        with pytest.raises(InputError, match="the input tensor lies outside"):
            check_program(moved, ARRAY)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"taps": 2**32 - 1, "iterations": 2**32 - 1}, "taps is 4294967295, but the weight stream has"),
        ({"iterations": 2**32 - 1}, "iterations is 4294967295, but the weight stream has"),
        ({"blocks": 7}, "blocks is 7, but"),
        ({"emit_blocks": 0}, "emit_blocks is 0, but"),
        ({"emit_groups": 9}, "emit_groups is 9, but"),
        ({"weight_words": 0}, "but the weight stream has 0"),
        ({"weight_words": 2**32 - 1}, "reaches beyond the image"),
        ({"rows": 0}, "tile is empty"),
        ({"tile_width": 0}, "tile is empty"),
        ({"groups": 0}, "tile is empty"),
        ({"groups": 65535}, "cells of a bank"),
        ({"rows": 65535}, "cells of a bank"),
        ({"beats": 65535}, "pixels take"),
        ({"tile_height": 65535}, "pixels take"),
        ({"oy0": 65535}, "reach beyond the buffer"),
        ({"ox0": 65535}, "reach beyond the buffer"),
        ({"depends": 9}, "no more than 8 steps are ever in flight"),
        ({"first_group": 65535}, "the group table .* reaches beyond the image"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_a_step_that_cannot_be_is_refused(artifact: Artifact, fields: dict[str, int], message: str) -> None:
    program = artifact.program
    # The last layer writes to the buffer; the others may keep their output on chip.
    last = program.layer_count - 1
    with pytest.raises(InputError, match=message) as caught:
        check_program(with_field(program, isa.StepDescriptor, step_at(program, last), **fields), ARRAY)
    assert caught.value.where.startswith(f"layer {last} ")


def test_rows_that_overlap_could_be_loaded_for_ever(artifact: Artifact) -> None:
    """65535 rows on one another fit any bank, and 65535 groups on one another too."""
    program = with_field(artifact.program, isa.LayerDescriptor, layer_at(artifact.program), pitch=0, chunk_cells=0)
    with pytest.raises(InputError, match="words are loaded, more than the banks hold"):
        check_program(with_field(program, isa.StepDescriptor, step_at(program), rows=65535), ARRAY)


def test_tables_that_share_words_are_refused(artifact: Artifact) -> None:
    """Else a small file could have a check without end: many layers, each with the same long table of steps."""
    program, count = artifact.program, 500
    layers = program.layers()
    longest = layers.row(int(np.argmax(np.asarray(layers.pattern_count))))
    image = np.concatenate([program.image, np.tile(longest.encode()[0], count)])
    counters, tensors = image.size, image.size + count * isa.LayerCounters.WORDS
    shared = replace(
        program,
        image=image,
        size=tensors + program.size,
        layer_table=program.image.size,
        counters=counters,
        layer_names=("x",) * count,
        input=replace(program.input, address=tensors),
    )
    with pytest.raises(InputError, match="shares words with other tables"):
        check_program(shared, ARRAY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 2**27 + 1}, "a buffer of 134217729 words .* 1024 MiB"),
        ({"size": 10**30}, "a buffer of 1000000000000000000000000000000 words"),
        ({"size": -1}, "a buffer of -1 words"),
        ({"size": 3}, "in a buffer of 3"),
        ({"layer_table": -12}, "a table lies outside the program"),
        ({"layer_table": 2**63}, "a table lies outside the program"),
        ({"layer_names": ()}, "no layer"),
        ({"layer_names": ("x",) * 10**6}, "a table lies outside the program"),
        ({"batch": 0}, "do not hold 0 images"),
        ({"batch": -(2**70)}, "images"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_registers_that_cannot_be_are_refused(artifact: Artifact, changes: dict[str, object], message: str) -> None:
    changed = replace(artifact.program, **changes)  # type: ignore[arg-type]
    assert re.search(message, "; ".join(layout_faults(changed)))
    with pytest.raises(InputError, match="inconsistent program"):
        check_program(changed, ARRAY)


@pytest.mark.parametrize("value", [0, -1, 65536, 2**31, 2**63, 10**40])
@pytest.mark.parametrize("name", ["channels", "height", "width"])
def test_tensors_of_any_size_are_refused_before_they_are_made(artifact: Artifact, name: str, value: int) -> None:
    program = artifact.program
    plane: Plane = replace(program.input, **{name: value})
    assert layout_faults(replace(program, input=plane))


@pytest.mark.parametrize("exponent", [-127, 127, 2**31, -(2**31), 10**40])
def test_scales_that_no_number_has_are_refused(artifact: Artifact, exponent: int) -> None:
    program = artifact.program
    changed = replace(program, input=replace(program.input, exponent=exponent))
    assert "beyond 2^±126" in "; ".join(layout_faults(changed))


@dataclasses.dataclass
class Said:
    steps: object
    iterations: object


def test_work_is_bounded_and_is_what_the_plan_says() -> None:
    work = [LayerSteps(2, 100), LayerSteps(1, 50)]
    assert not list(work_faults(work, [Said(2, 100), Said(1, 50)]))
    assert next(work_faults(work, [Said(2, 100)])) == "the plan has 1 layers, the program 2"
    for wrong in (Said(2, 99), Said(1, 100), Said("2", "100"), Said(None, None)):
        assert "the program takes 2 and 100" in next(work_faults(work, [wrong, Said(1, 50)]))
    assert "its counter ends at" in next(work_faults([LayerSteps(1, MAX_LAYER_ITERATIONS + 1)]))
    many = [LayerSteps(1, MAX_LAYER_ITERATIONS)] * (MAX_ITERATIONS // MAX_LAYER_ITERATIONS + 1)
    assert "more than the" in next(work_faults(many))
