"""Runs of several layers and steps, one run after another: what must not leak from one into the next, and what must."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proprune_cli.accel import isa
from proprune_cli.accel.array import Array, load_array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.interpret import InterpreterEngine
from proprune_cli.board.native import counters_of
from proprune_cli.errors import InputError
from tests.unit.accel.engine_builder import Built, build
from tests.unit.accel.engine_case import Case
from tests.unit.accel.engine_sequence import Sequence, change, join
from tests.unit.accel.test_engine_programs import ARRAYS, cases, engine

SAME_SIZE = Case(channels=16, outputs=16, height=6, width=7, kernel=(3, 3), pads=(1, 1, 1, 1), tile=(3, 4))
"""Output planes like the input planes; four steps, each of which reads pixels of all four of the layer before."""


def check(sequence: Sequence, parts: list[Built]) -> None:
    """Every part's output and counters after a run."""
    counts = counters_of(sequence.buffer, sequence.counters, len(parts))
    for number, (part, start) in enumerate(zip(parts, sequence.starts, strict=True)):
        at = start + part.output
        np.testing.assert_array_equal(sequence.buffer[at : at + part.output_words], part.expected)
        assert counts.row(number) == isa.LayerCounters(
            iterations=part.iterations,
            taps=part.taps,
            fetch_words=part.fetch_words,
            weight_words=part.weight_words,
            residual_words=part.residual_words,
            store_words=part.store_words,
        )


@given(st.lists(cases(), min_size=2, max_size=4), st.sampled_from(ARRAYS), st.lists(st.integers(0, 8), min_size=1))
@settings(max_examples=40, deadline=None)
def test_layers_of_any_kind_run_in_one_go(drawn: list[tuple[str, Case]], name: str, depends: list[int]) -> None:
    array = load_array(name)
    parts = [build(replace(case, groups_per_chunk=1), array) for _, case in drawn]
    sequence = join(parts, array)
    choice = itertools.cycle(depends)
    for layer, part in enumerate(parts):
        for step in range(part.steps):
            sequence.change_step(layer, step, depends=next(choice))
    done = engine(name).run(sequence.buffer, sequence.layer_table, sequence.steps, sequence.counters)
    assert done == sequence.steps
    check(sequence, parts)


def chain(array: Array, between: list[int], depends: list[int]) -> tuple[Sequence, int]:
    """Three layers, each on the output of the one before, which lies at the addresses ``between``.

    Returns the sequence and the address of the last output; ``depends`` are those of a layer's steps but the first's.
    """
    parts = [build(replace(SAME_SIZE, seed=seed), array) for seed in range(3)]
    sequence = join(parts, array)
    words = SAME_SIZE.height * SAME_SIZE.width
    for layer, address in enumerate(between):
        sequence.change_layer(layer, out_base=address)
        table = int(sequence.layer(layer + 1).group_table)
        sequence.buffer[table : table + 2] = [address, address + words]
        for step, n in enumerate(depends):
            sequence.change_step(layer + 1, step, depends=n)
    return sequence, int(sequence.layer(2).out_base)


def one_by_one(array: Array, free: int) -> Words:
    """What the last layer of the chain writes when every layer is a run of its own and all planes lie in DDR."""
    sequence, output = chain(array, [free, free + 100], [1, 2, 3, 4])
    buffer = np.concatenate([sequence.buffer, np.zeros(200, dtype="<u8")])
    for layer in range(3):
        table = sequence.layer_table + layer * isa.LayerDescriptor.WORDS
        assert engine(array.name).run(buffer, table, 4, sequence.counters) == 4
    return buffer[output : output + 84].copy()


PLACES: dict[str, Callable[[Array, int], list[int]]] = {
    "in DDR": lambda array, free: [free, free + 100],
    "on chip": lambda array, free: [isa.ON_CHIP, isa.ON_CHIP + array.scratch_words - 84],
    "on chip, then in DDR": lambda array, free: [isa.ON_CHIP + 5, free],
    "in DDR, then on chip": lambda array, free: [free, isa.ON_CHIP + 5],
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("interpreted", [False, True], ids=["C++", "interpreter"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_layer_reads_what_the_one_before_it_wrote(
    place: Callable[[Array, int], list[int]], interpreted: bool, name: str
) -> None:
    """With depends as large as they may be: step k waits for the last step of the layer before, k + 1 steps back."""
    array = load_array(name)
    sequence, output = chain(array, [0, 0], [])
    free = sequence.buffer.size
    wanted = one_by_one(array, free)
    sequence, output = chain(array, place(array, free), [1, 2, 3, 4])
    buffer = np.concatenate([sequence.buffer, np.zeros(200, dtype="<u8")])
    before = buffer.copy()
    runner = InterpreterEngine(array) if interpreted else engine(name)
    for _ in range(3):
        buffer[:] = before
        assert runner.run(buffer, sequence.layer_table, 12, sequence.counters) == 12
        np.testing.assert_array_equal(buffer[output : output + 84], wanted)
        counts = counters_of(buffer, sequence.counters, 3)
        assert np.asarray(counts.fetch_words).tolist() == [counts.row(0).fetch_words] * 3
        assert np.asarray(counts.store_words).tolist() == [84] * 3


@pytest.mark.parametrize("name", ARRAYS)
def test_what_the_scratch_memory_held_does_not_survive_into_the_next_run(name: str) -> None:
    """A plane on chip that nobody wrote is not the one of the run before."""
    array = load_array(name)
    at = isa.ON_CHIP + 9
    sequence, output = chain(array, [at, at + 100], [1, 2, 3, 4])
    table = sequence.layer_table
    run = engine(name).run
    assert run(sequence.buffer, table, 12, sequence.counters) == 12
    right = sequence.buffer[output : output + 84].copy()
    assert run(sequence.buffer, table + 2 * isa.LayerDescriptor.WORDS, 4, sequence.counters) == 4
    assert (sequence.buffer[output : output + 84] != right).any()


@pytest.mark.parametrize("depends", [0, 1, 2, 7, 8])
def test_runs_of_any_length_follow_each_other_also_after_refused_ones(depends: int) -> None:
    array, run = load_array("z7020-256"), engine("z7020-256").run
    case = Case(height=9, width=8, kernel=(3, 3), tile=(1, 1))
    for rows in (1, 2, 7, 1, 3):
        part = build(replace(case, height=rows + 2), array)
        buffer = part.buffer
        step_table = part.layer_table + isa.LayerDescriptor.WORDS
        for step in range(part.steps):
            change(isa.StepDescriptor, buffer, step_table, step, depends=depends)
        with pytest.raises(InputError, match="steps of a layer"):
            run(buffer, part.layer_table, part.steps - 1, part.counters)
        broken = buffer.copy()
        change(isa.StepDescriptor, broken, step_table, part.steps - 1, iterations=8)
        with pytest.raises(InputError, match="iterations is 8, the weight stream has"):
            run(broken, part.layer_table, part.steps, part.counters)
        assert run(buffer, part.layer_table, part.steps, part.counters) == part.steps == 6 * rows
        np.testing.assert_array_equal(buffer[part.output : part.output + part.output_words], part.expected)


@pytest.mark.parametrize(
    ("place", "words", "where"),
    [("out_base", 84, "output"), ("group_table", 42, "input")],
    ids=["output", "input"],
)
def test_a_plane_that_passes_the_end_of_the_scratch_memory_is_refused(place: str, words: int, where: str) -> None:
    array = load_array("z7020-256")

    def moved(to: int) -> Sequence:
        sequence = join([build(SAME_SIZE, array)], array)
        if place == "out_base":
            sequence.change_layer(0, out_base=to)
        else:
            sequence.buffer[int(sequence.layer(0).group_table)] = to
        return sequence

    last = isa.ON_CHIP + array.scratch_words - words
    for to, fits in ((last, True), (last + 1, False), (2**32 - 1, False)):
        sequence = moved(to)
        registers = sequence.layer_table, sequence.steps, sequence.counters
        if fits:
            assert engine(array.name).run(sequence.buffer, *registers) == 4
        else:
            with pytest.raises(InputError, match=f"end of an {where} plane on chip"):
                engine(array.name).run(sequence.buffer, *registers)


def test_the_residual_operand_is_never_on_chip() -> None:
    array = load_array("z7020-256")
    sequence = join([build(Case(combine=isa.Combine.ADD), array)], array)
    sequence.buffer[int(sequence.layer(0).residual_table)] = isa.ON_CHIP
    with pytest.raises(InputError, match="end of a residual plane"):
        engine(array.name).run(sequence.buffer, sequence.layer_table, 1, sequence.counters)


def test_a_layer_without_steps_and_one_that_is_cut_short_are_refused() -> None:
    array = load_array("z7020-256")
    sequence = join([build(SAME_SIZE, array), build(SAME_SIZE, array)], array)
    run = engine(array.name).run
    for steps in (1, 3, 5, 7):
        with pytest.raises(InputError, match=f"steps of a layer is 4, at most {steps % 4}"):
            run(sequence.buffer, sequence.layer_table, steps, sequence.counters)
    assert run(sequence.buffer, sequence.layer_table, 8, sequence.counters) == 8
    sequence.change_layer(1, step_count=0)
    with pytest.raises(InputError, match="layer 1, step 0: steps of a layer is 0, at least 1"):
        run(sequence.buffer, sequence.layer_table, 8, sequence.counters)
