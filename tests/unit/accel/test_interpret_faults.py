"""Inconsistent programs: every fault is found and named with its layer, step and block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.bitfield import Record
from proprune_cli.accel.program import Program
from proprune_cli.errors import BoardError, InputError
from tests.unit.accel.interpret_build import Conv, Network
from tests.unit.accel.test_interpret import one_layer


def edit(program: Program, address: int, record: type[Record], **fields: int) -> Program:
    """The program with some fields of one record replaced."""
    image = program.image.copy()
    where = slice(address, address + record.WORDS)
    image[where] = replace(record.decode(image[where]).row(0), **fields).encode()[0]
    return replace(program, image=image)


def edit_layer(program: Program, **fields: int) -> Program:
    return edit(program, program.layer_table, isa.LayerDescriptor, **fields)


def edit_step(program: Program, step: int, **fields: int) -> Program:
    table = int(program.layers().row(0).step_table)
    return edit(program, table + step * isa.StepDescriptor.WORDS, isa.StepDescriptor, **fields)


def edit_block(program: Program, **fields: int) -> Program:
    """Changes block 0 of step 0."""
    first = program.steps(program.layers().row(0)).row(0)
    return edit(program, int(first.weights), isa.BlockHeader, **fields)


def edit_tap(program: Program, **fields: int) -> Program:
    """Changes tap 0 of block 0 of step 0."""
    first = program.steps(program.layers().row(0)).row(0)
    return edit(program, int(first.weights) + load_array(program.array).block_words, isa.TapHeader, **fields)


def edit_first_steps(program: Program, **fields: int) -> Program:
    """Changes the steps that share the weight stream of step 0: the first of the two of each of the four tiles."""
    for step in (0, 2, 4, 6):
        program = edit_step(program, step, **fields)
    return program


def on_chip_input(program: Program, word: int) -> Program:
    """The first input plane lies at ``word`` of the engine's own memory."""
    image = program.image.copy()
    image[int(program.layers().row(0).group_table)] = isa.ON_CHIP + word
    return replace(program, image=image)


def on_chip_residual(program: Program) -> Program:
    """The layer adds a plane of the engine's own memory; its input's table stands for the operand's."""
    program = on_chip_input(program, 0)
    return edit_layer(program, combine=isa.Combine.ADD, residual_table=int(program.layers().row(0).group_table))


CASES: dict[str, tuple[Callable[[Program], Program], str, str]] = {
    "mode": (lambda p: edit_layer(p, mode=3), "mode 3 is unknown", "layer 0 'y'"),
    "chunk": (lambda p: edit_layer(p, groups_per_chunk=3), "3 channel groups in a chunk", "layer 0 'y'"),
    "patterns": (lambda p: edit_layer(p, pattern_count=65), "65 lane patterns", "layer 0 'y'"),
    "step table": (lambda p: edit_layer(p, step_table=p.size), "the step table", "layer 0 'y'"),
    "pattern table": (lambda p: edit_layer(p, pattern_table=p.size), "the pattern table", "layer 0 'y'"),
    "group table": (lambda p: edit_layer(p, group_table=p.size), "the group table", "step 0"),
    "residual": (lambda p: edit_layer(p, residual_table=p.size, combine=1), "the residual table", "step 1, block 0"),
    "output": (lambda p: edit_layer(p, out_base=p.size), "beyond the buffer", "step 1, block 0"),
    "image overwritten": (lambda p: edit_layer(p, out_base=0), "holds the program", "step 1, block 0"),
    "counters overwritten": (lambda p: edit_layer(p, out_base=p.counters), "its counters", "step 1, block 0"),
    "stream out of bounds": (lambda p: edit_step(p, 2, weights=p.size), "the weight stream", "step 2"),
    "weight_words": (lambda p: edit_step(p, 2, weight_words=2 * 160 + 1), "weight_words is 321", "step 2"),
    "stream too short": (lambda p: edit_step(p, 2, weight_words=300), "ends before tap|ends inside", "block 1"),
    "blocks": (lambda p: edit_step(p, 3, blocks=1), "weight_words is 320", "step 3"),
    "taps": (lambda p: edit_step(p, 1, taps=17), "taps is 17", "step 1"),
    "iterations": (lambda p: edit_step(p, 1, iterations=1), "iterations is 1", "step 1"),
    "emit_blocks": (lambda p: edit_step(p, 1, emit_blocks=1), "emit_blocks is 1", "step 1"),
    "emit_groups": (lambda p: edit_step(p, 1, emit_groups=9), "emit_groups is 9", "step 1"),
    "beats": (lambda p: edit_step(p, 1, beats=9), "beats is 9, but 16 pixels take 8", "step 1"),
    "combine": (lambda p: edit_layer(p, combine=3), "combine 3 is unknown", "layer 0 'y'"),
    "lookup": (lambda p: edit_layer(p, lookup=3), "lookup 3 is unknown", "layer 0 'y'"),
    "lookup table": (lambda p: edit_layer(p, lookup=1, lookup_table=p.size - 31), "the lookup table", "layer 0 'y'"),
    "input window": (lambda p: edit_layer(p, in_pitch=p.size), "feature plane", "step 0"),
    "input pitch": (lambda p: edit_layer(p, in_pitch=7), "in_pitch is 7", "layer 0 'y'"),
    "row step": (lambda p: edit_layer(p, out_step_y=0), "output steps of 0 rows", "layer 0 'y'"),
    "pixel step": (lambda p: edit_layer(p, out_step_x=0), "output steps of 1 rows and 0 pixels", "layer 0 'y'"),
    "rows on rows": (lambda p: edit_layer(p, out_pitch=3), "fall on one word", "step 1, block 0"),
    "empty tile": (lambda p: edit_step(p, 0, tile_width=0), "an empty output tile", "step 0"),
    "no groups": (lambda p: edit_step(p, 0, groups=0), "an empty input tile", "step 0"),
    "bank": (lambda p: edit_step(p, 0, rows=2000), "the input tile needs", "step 0"),
    "pitch": (lambda p: edit_layer(p, pitch=3), "different codes on one cell", "step 0"),
    "depends": (lambda p: edit_step(p, 3, depends=9), "depends is 9", "step 3"),
    "no steps": (lambda p: edit_layer(p, step_count=0), "their steps are those of 0", "table"),
    "input beyond the chip": (lambda p: on_chip_input(p, 8129), r"\[8129, 8193\) reaches beyond the eng", "step 0"),
    "input far on the chip": (lambda p: on_chip_input(p, 8192), "beyond the engine's own memory of 8192", "step 0"),
    "output beyond the chip": (
        lambda p: edit_layer(p, out_base=isa.ON_CHIP + 8192 - 100),
        "output address 8.* is beyond the engine's own memory",
        "step 5, block 1",
    ),
    "residual on chip": (lambda p: on_chip_residual(p), "a residual plane lies in the engine's own", "step 1, block 0"),
    "empty block": (lambda p: edit_block(p, taps=0), "no taps", "step 0, block 0"),
    "slot": (lambda p: edit_block(p, slot=64), "slot 64 of 8 beats ends beyond", "step 0, block 0"),
    "never started": (lambda p: edit_block(p, init=0), "never started", "step 1, block 0"),
    "groups": (
        lambda p: edit_first_steps(edit_block(p, emit=1, groups=2), emit_blocks=1, emit_groups=2),
        "emits 2 groups",
        "step 0, block 0",
    ),
    "tap beyond bank": (lambda p: edit_tap(p, base=8190), "the tap reads bank cell", "step 0, block 0, tap 0"),
    "tap past the load": (lambda p: edit_tap(p, base=100), "not loaded", "step 0, block 0, tap 0"),
    "tap pattern": (lambda p: edit_tap(p, pattern=1), "lane pattern 1 of 1", "step 0, block 0, tap 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_found_and_placed(case: str) -> None:
    change, what, where = CASES[case]
    network, x = one_layer()
    with pytest.raises(InputError, match=what) as caught:
        interpret.run(change(network.build()), x)
    assert where in caught.value.where
    assert caught.value.remedy


@pytest.mark.parametrize("broadcast", [False, True])
def test_a_residual_plane_outside_the_buffer_is_a_fault(broadcast: bool) -> None:
    network, x = one_layer(residual="r", broadcast=broadcast)
    program = network.build()
    interpret.run(program, x)
    program.image[int(program.layers().row(0).residual_table)] = program.size
    with pytest.raises(InputError, match="residual address") as caught:
        interpret.run(program, x)
    assert "step 1, block 0" in caught.value.where


def test_a_residual_operand_that_the_layer_has_written_is_a_fault() -> None:
    # The four tiles all read pixel 0 of the output itself; the first has written it when the second asks for it.
    network, x = one_layer(residual="y", broadcast=True)
    with pytest.raises(InputError, match="already written") as caught:
        interpret.run(network.build(), x)
    assert "step 3, block 0" in caught.value.where


def test_reading_what_an_earlier_step_of_the_layer_wrote_is_a_fault() -> None:
    network, x = one_layer(y="x")
    network.tensors["x"] = (12, 8, 8)
    network.output = "x"
    network.layers[0].weight = network.layers[0].weight[:, :12]
    with pytest.raises(InputError, match="earlier step of the layer wrote") as caught:
        interpret.run(network.build(), x[:12])
    assert "step 1" in caught.value.where


def test_a_weight_on_cells_between_rows_is_a_fault() -> None:
    # With a slack of 2 cells between rows, cell 2 of a 2-pixel row is never loaded; a lane may read it unweighed only.
    weight = np.ones((8, 8, 1, 1), dtype=np.int8)
    layer = Conv("x", "y", (1, 1), weight, np.zeros(8, int), np.ones(8, int), slack=2)
    network = Network(load_array("z7020-256"), {"x": (8, 2, 2), "y": (8, 2, 2)}, [layer], "x", "y")
    program = network.build()
    x = np.ones((8, 2, 2), dtype=np.int8)
    interpret.run(program, x)
    image = program.image.copy()
    # Lanes 8-15 hold the same group but have no weights: their offset may point anywhere.
    pattern = image[int(program.layers().row(0).pattern_table) :][:4].view("<u2")
    pattern[8:] = 2
    interpret.run(replace(program, image=image), x)
    first = program.steps(program.layers().row(0)).row(0)
    # Word 1 of the weights, byte 0: output lane 0, input lane 8.
    image[int(first.weights) + network.array.block_words + 2] = 5
    with pytest.raises(InputError, match="lane 8 has a weight"):
        interpret.run(replace(program, image=image), x)


def test_a_step_without_blocks_does_nothing() -> None:
    network, x = one_layer()
    program = network.build()
    expected = interpret.run(program, x).outputs[0]
    # A ninth step that only loads.
    layer = program.layers().row(0)
    steps = program.image[int(layer.step_table) :][: 8 * isa.StepDescriptor.WORDS]
    idle = replace(
        program.steps(layer).row(7), blocks=0, weight_words=0, taps=0, iterations=0, emit_blocks=0, emit_groups=0
    )
    table = program.size
    program = replace(program, size=table + 9 * isa.StepDescriptor.WORDS)
    program = edit_layer(program, step_table=table, step_count=9)
    buffer = np.zeros(program.size, dtype=np.uint64)
    buffer[: program.image.size] = program.image
    buffer[table:] = np.concatenate([steps, idle.encode()[0]])
    buffer[program.input.address : program.input.address + program.input.words] = program.input.pack(x)
    interpret.run_buffer(program, buffer)
    np.testing.assert_array_equal(program.unpack_outputs(buffer)[0], expected)


def test_a_weight_stream_off_the_ports_alignment_is_a_fault() -> None:
    weight = np.ones((8, 8, 1, 1), dtype=np.int8)
    layer = Conv("x", "y", (1, 1), weight, np.zeros(8, int), np.ones(8, int))
    network = Network(load_array("zu-1024"), {"x": (8, 2, 2), "y": (8, 2, 2)}, [layer], "x", "y")
    program = network.build()
    x = np.ones((8, 2, 2), dtype=np.int8)
    interpret.run(program, x)
    address = int(program.steps(program.layers().row(0)).row(0).weights)
    with pytest.raises(InputError, match="not a multiple of the port's 2 words"):
        interpret.run(edit_step(program, 0, weights=address + 1), x)


def test_an_accumulator_past_the_exact_range_is_a_fault() -> None:
    weight = np.full((1, 128, 3, 3), -127, dtype=np.int8)
    layer = Conv("x", "y", (3, 3), weight, np.zeros(1, int), np.ones(1, int), groups_per_chunk=2)
    network = Network(load_array("z7020-256"), {"x": (128, 3, 3), "y": (1, 1, 1)}, [layer], "x", "y")
    with pytest.raises(InputError, match="an accumulator reaches"):
        interpret.run(network.build(), np.full((128, 3, 3), -128, dtype=np.int8))


def test_reuse_without_weights_before_it_is_a_fault() -> None:
    network, x = one_layer(reuse_equal=True)
    network.layers[0].weight = np.ones_like(network.layers[0].weight)
    program = network.build()
    interpret.run(program, x)
    first = program.steps(program.layers().row(0)).row(0)
    head = int(first.weights)
    # Turn the first tap into a reusing one: the 16 weight words that follow read as further taps.
    broken = edit(program, head + network.array.block_words, isa.TapHeader, reuse=1)
    with pytest.raises(InputError):
        interpret.run(broken, x)


def test_steps_that_end_inside_a_layer_are_a_fault() -> None:
    network, x = one_layer()
    program = network.build()
    buffer = np.concatenate([program.image, np.zeros(program.size - program.image.size, dtype=np.uint64)])
    buffer[program.input.address :][: program.input.words] = program.input.pack(x)
    engine = interpret.InterpreterEngine(network.array)
    assert engine.run(buffer, program.layer_table, 0, program.counters) == 0
    with pytest.raises(InputError, match="7 steps are to run, but layer 0 of the run ends at step 8"):
        engine.run(buffer, program.layer_table, 7, program.counters)


def test_steps_that_lead_through_a_layer_without_any_are_a_fault() -> None:
    network, _ = one_layer()
    program = edit_layer(network.build(), step_count=0)
    buffer = np.concatenate([program.image, np.zeros(program.size - program.image.size, dtype=np.uint64)])
    with pytest.raises(InputError, match="layer 0 of the run has no steps"):
        interpret.InterpreterEngine(network.array).run(buffer, program.layer_table, 8, program.counters)


def test_a_program_for_another_contract_is_refused() -> None:
    network, x = one_layer()
    with pytest.raises(BoardError, match="contract digest"):
        interpret.run(replace(network.build(), digest="0" * 64), x)


def test_an_input_of_another_shape_or_type_is_refused() -> None:
    network, x = one_layer()
    for wrong in (x[:, :7], x.astype(np.int16)):
        with pytest.raises(InputError, match="the program takes int8"):
            interpret.run(network.build(), wrong)
