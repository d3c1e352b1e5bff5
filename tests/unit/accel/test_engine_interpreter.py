"""The engine's hand-made programs run by the NumPy interpreter too: both leave the same buffer, counters included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from proprune_cli.accel import isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.interpret import InterpreterEngine
from tests.unit.accel.engine_builder import build
from tests.unit.accel.engine_case import Case
from tests.unit.accel.test_engine_programs import ARRAYS, PROGRAMS, cases, engine


def compare(case: Case, name: str) -> None:
    array = load_array(name)
    built = build(case, array)
    other = built.buffer.copy()
    layer = built.buffer[built.layer_table :][: isa.LayerDescriptor.WORDS]
    steps = int(isa.LayerDescriptor.decode(layer).row(0).step_count)
    assert engine(name).run(built.buffer, built.layer_table, steps, built.counters) == steps
    assert InterpreterEngine(array).run(other, built.layer_table, steps, built.counters) == steps
    np.testing.assert_array_equal(built.buffer, other)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("case", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_interpreter_and_engine_leave_the_same_memory(case: Case, name: str) -> None:
    compare(case, name)


@given(cases())
@settings(max_examples=120, deadline=None)
def test_any_program_leaves_the_same_memory(drawn: tuple[str, Case]) -> None:
    name, case = drawn
    compare(case, name)
