"""The interpreter and the engine's compiled C++ source leave the same memory behind, word for word, counters too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from proprune_cli.accel.array import load_array
from proprune_cli.accel.interpret import InterpreterEngine
from proprune_cli.accel.program import Program
from proprune_cli.board.native import NativeEngine
from tests.step_order import step_count
from tests.unit.accel.interpret_build import Network
from tests.unit.accel.test_interpret import convolutions, one_layer
from tests.unit.accel.test_interpret_order import chains


def buffer_of(program: Program, x: np.ndarray) -> np.ndarray:
    buffer = np.zeros(program.size, dtype=np.uint64)
    buffer[: program.image.size] = program.image
    buffer[program.input.address : program.input.address + program.input.words] = program.input.pack(x)
    return buffer


def compare(network: Network, x: np.ndarray) -> None:
    program = network.build()
    buffers = []
    for engine in (InterpreterEngine(network.array), NativeEngine(network.array)):
        buffers.append(buffer_of(program, x))
        steps = step_count(program)
        assert engine.run(buffers[-1], program.layer_table, steps, program.counters) == steps
    np.testing.assert_array_equal(buffers[0], buffers[1])


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_random_convolutions(case: tuple[Network, int]) -> None:
    network, seed = case
    compare(network, np.random.default_rng(seed).integers(-128, 128, network.tensors["x"]).astype(np.int8))


@settings(max_examples=100, deadline=None)
@given(chains())
def test_layers_that_overlap(case: tuple[Network, np.ndarray]) -> None:
    """The C++ writes as early as it can, the interpreter as late as it may: a wait that is too short would show."""
    compare(*case)


@pytest.mark.parametrize("repeat", [False, True])
def test_a_layer_of_two_steps_per_tile(repeat: bool) -> None:
    network, x = one_layer(reuse_equal=repeat)
    compare(network, x)


@pytest.mark.parametrize("name", ["z7020-256", "z7020-384", "zu-1024"])
def test_both_report_one_digest(name: str) -> None:
    array = load_array(name)
    assert InterpreterEngine(array).digest() == NativeEngine(array).digest()
