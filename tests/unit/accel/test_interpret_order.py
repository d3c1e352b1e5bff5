"""Steps that overlap: what a step waits for is there, and what it does not wait for is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proprune_cli.accel import interpret, isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.program import Program
from tests.step_order import distances, step_count, steps_in_order, with_depends
from tests.unit.accel.interpret_build import Conv, Network, references

ARRAYS = ("z7020-256", "z7020-384", "zu-1024")
IN_FLIGHT = isa.STEPS_IN_FLIGHT


def copying(x: str, y: str, channels: int, tile: tuple[int, int], residual: str | None = None) -> Conv:
    """A layer that copies codes, or adds those of ``residual`` to them."""
    weight = np.zeros((channels, channels, 1, 1), dtype=np.int8)
    weight[np.arange(channels), np.arange(channels)] = 2
    zeros, halves = np.zeros(channels, dtype=int), np.full(channels, 1 << 15)
    return Conv(x, y, (1, 1), weight, zeros, halves, tile=tile, residual=residual)


@st.composite
def chains(draw: st.DrawFn) -> tuple[Network, np.ndarray]:
    """x → m → y, or y = x + m, all in tiles of any size; where m is input it may lie on chip."""
    array = load_array(draw(st.sampled_from(ARRAYS)))
    channels, height, width = draw(st.integers(1, 20)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    first, second = (draw(st.tuples(st.integers(1, 9), st.integers(1, 9))) for _ in range(2))
    added = draw(st.booleans())
    layers = [
        copying("x", "m", channels, first),
        copying("x", "y", channels, second, "m") if added else copying("m", "y", channels, second),
    ]
    on_chip = ("m",) if not added and draw(st.booleans()) else ()
    network = Network(array, dict.fromkeys("xmy", (channels, height, width)), layers, "x", "y", on_chip)
    # No code is 0, which is what m holds before it is written, and no sum of two is out of range.
    x = np.random.default_rng(draw(st.integers(0, 99))).integers(1, 64, (channels, height, width)).astype(np.int8)
    return network, x


@settings(max_examples=150, deadline=None)
@given(chains())
def test_a_step_that_waits_for_what_it_reads_gets_it(case: tuple[Network, np.ndarray]) -> None:
    network, x = case
    np.testing.assert_array_equal(interpret.run(network.build(), x).outputs[0], references(network, x)["y"])


@settings(max_examples=200, deadline=None)
@given(chains(), st.data())
def test_a_step_that_waits_one_step_too_little_reads_what_was_there_before(
    case: tuple[Network, np.ndarray], data: st.DataObject
) -> None:
    network, x = case
    program = network.build()
    exact = distances(program, network.array)
    needing = [number for number, n in enumerate(exact) if 0 < n < IN_FLIGHT]
    assume(needing)
    number = data.draw(st.sampled_from(needing))
    loosened = with_depends(program, [n + (i == number) for i, n in enumerate(exact)])
    wrong = (interpret.run(loosened, x).outputs[0] != references(network, x)["y"]).any(axis=0)
    assert wrong.any()
    # Only pixels of that step, since no other one waits for less than it needs.
    step = list(steps_in_order(program))[number][1]
    wrong[int(step.oy0) :, int(step.ox0) :][: int(step.tile_height), : int(step.tile_width)] = False
    assert not wrong.any()


def two_layers(**changes: object) -> tuple[Network, np.ndarray]:
    """8 channels of 4×4 copied twice, row by row: steps 0 to 3 make the rows of m, steps 4 to 7 those of y."""
    x = np.arange(1, 129, dtype=np.uint8).view(np.int8).reshape(8, 4, 4)
    layers = [copying("x", "m", 8, (1, 4)), copying("m", "y", 8, (1, 4))]
    network = Network(load_array("z7020-256"), dict.fromkeys("xmy", (8, 4, 4)), layers, "x", "y")
    return replace(network, **changes), x  # type: ignore[arg-type]


def test_a_step_is_certain_only_of_what_it_waits_for_itself() -> None:
    """Step 4 waits for all of m; step 5 asks for nothing, and the row that it reads is not there for it."""
    network, x = two_layers()
    program = with_depends(network.build(), [0, 0, 0, 0, 1, 0, 4, 4])
    output = interpret.run(program, x).outputs[0]
    np.testing.assert_array_equal(output[:, [0, 2, 3]], x[:, [0, 2, 3]])
    assert not output[:, 1].any()


def test_a_word_written_twice_is_seen_as_the_step_that_is_waited_for_left_it() -> None:
    network, x = two_layers()
    # m is made twice: first from x, then from y's place, which holds 0.
    again = copying("z", "m", 8, (1, 4))
    tensors = dict.fromkeys("xmyz", (8, 4, 4))
    network = replace(network, tensors=tensors, layers=[network.layers[0], again, network.layers[1]])
    program = network.build()
    # Row r of m is written by step r and again by step 4 + r; step 8 + r reads it.
    for depends, expected in ((4, 0 * x), (5, x), (7, x)):
        output = interpret.run(with_depends(program, [0] * 8 + [depends] * 4), x).outputs[0]
        np.testing.assert_array_equal(output, expected)


def test_what_lies_on_chip_is_not_in_the_buffer_and_counts_as_traffic() -> None:
    (on_chip, x), (in_ddr, _) = two_layers(on_chip=("m",)), two_layers()
    small, large = on_chip.build(), in_ddr.build()
    assert large.size - small.size == 16
    results = [interpret.run(program, x) for program in (small, large)]
    for result in results:
        np.testing.assert_array_equal(result.outputs[0], x)
    assert results[0].counters.row(1) == results[1].counters.row(1)
    assert results[0].counters.row(1).fetch_words == 16


def test_what_the_engine_keeps_is_undefined_when_it_starts() -> None:
    """A program that reads from chip what it never wrote gets neither zeros nor what a run before it left."""
    network, x = two_layers(on_chip=("m",))
    engine = interpret.InterpreterEngine(network.array)
    whole = network.build()
    buffer = buffer_of(whole, x)
    assert engine.run(buffer, whole.layer_table, step_count(whole), whole.counters) == 8
    second = whole.layer_table + isa.LayerDescriptor.WORDS
    assert engine.run(buffer, second, 4, whole.counters) == 4
    (read,) = whole.unpack_outputs(buffer)
    assert (read != x).mean() > 0.9
    assert (read != 0).mean() > 0.9


def buffer_of(program: Program, x: np.ndarray) -> np.ndarray:
    buffer = np.zeros(program.size, dtype=np.uint64)
    buffer[: program.image.size] = program.image
    buffer[program.input.address :][: program.input.words] = program.input.pack(x)
    return buffer
