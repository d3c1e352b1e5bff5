"""The engine's processes at the same time, with queues as deep as the source says: none hangs, none reads too early."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.networks import network as named
from benchmarks.predicted import quantised
from proprune_cli.accel import isa
from proprune_cli.accel.array import Array, array_names, load_array
from proprune_cli.accel.segments import segments
from proprune_cli.board.native import save_case
from proprune_cli.compile.pipeline import lower
from tests.executors import MEMORY
from tests.unit.accel.engine_builder import build
from tests.unit.accel.engine_case import Case
from tests.unit.accel.engine_sequence import Sequence, join
from tests.unit.accel.engine_threads import build as build_threads
from tests.unit.accel.test_engine_programs import engine

SECONDS = 120
"""After which a run is taken to hang; one takes a second or two."""

Bench = tuple[Array, Path]
"""An array and its testbench's binary."""

# One array for each number of output groups: that is what changes how the processes depend on each other.
ARRAYS = list({load_array(name).oc_groups: load_array(name) for name in reversed(array_names())}.values())


@pytest.fixture(scope="module", params=ARRAYS, ids=lambda a: a.name)
def testbench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    array: Array = request.param
    return array, build_threads(array, tmp_path_factory.mktemp("threads"))


def status(binary: Path, *arguments: str, slow: bool = False, shorter: bool = False) -> int:
    """Exit status of the testbench.

    Args:
        slow: the store waits before each step. shorter: each queue has one entry less than in the source.
    """
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1 exitcode=66"}
    environment |= {"SLOW_STORE": "1"} if slow else {}
    environment |= {"SHORTER_QUEUES": "1"} if shorter else {}
    done = subprocess.run([str(binary), *arguments], env=environment, check=False, capture_output=True, timeout=SECONDS)
    if b"unexpected memory mapping" in done.stderr:
        pytest.skip("the compiler's check for data races does not work with this kernel's address layout")
    return done.returncode


def replay(testbench: Bench, sequence: Sequence, folder: Path, *, slow: bool = False, shorter: bool = False) -> int:
    """Exit status after the sequence, whose result must be, word for word, what the processes in order leave."""
    array, binary = testbench
    before = sequence.buffer.copy()
    assert engine(array.name).run(sequence.buffer, sequence.layer_table, sequence.steps, sequence.counters)
    registers = (sequence.layer_table, sequence.steps, sequence.counters)
    save_case(folder / "case", array, before, sequence.buffer, registers, (0, before.size))
    return status(binary, str(folder / "case"), slow=slow, shorter=shorter)


def chain(array: Array, on_chip: bool, depends: list[int]) -> Sequence:
    """Four layers of four steps; each reads the output of the one before, as input and, in DDR, as residual operand.

    Every second layer takes its tiles backwards, so that its first step's residual operand is written last.
    """
    base = Case(channels=16, outputs=16, height=6, width=7, kernel=(3, 3), pads=(1, 1, 1, 1), tile=(3, 4))
    combine = isa.Combine.NONE if on_chip else isa.Combine.ADD
    parts = [build(replace(base, combine=combine, seed=n), array) for n in range(4)]
    sequence = join(parts, array)
    for n in range(3):
        address = isa.ON_CHIP + 100 * n if on_chip else int(sequence.layer(n).out_base)
        sequence.change_layer(n, out_base=address)
        later = sequence.layer(n + 1)
        for table in (later.group_table, later.residual_table):
            sequence.buffer[int(table) : int(table) + 2] = [address, address + 42]
        steps = sequence.buffer[int(later.step_table) :][: 4 * isa.StepDescriptor.WORDS].reshape(4, -1)
        if n % 2 == 0:
            steps[:] = steps[::-1].copy()
        for step, back in enumerate(depends):
            sequence.change_step(n + 1, step, depends=back)
    return sequence


DEPTHS = pytest.mark.parametrize("shorter", [False, True], ids=["as deep as the source", "one entry shorter"])
"""All queues at once. Processes block on one queue at a time and in an order that does not depend on time, but for
`keep_scratch`, which never blocks: what does not hang with all queues shorter does not hang with some shorter."""


@DEPTHS
@pytest.mark.parametrize("slow", [False, True], ids=["quick", "slow store"])
@pytest.mark.parametrize("on_chip", [False, True], ids=["in DDR", "on chip"])
def test_layers_that_read_what_others_write(
    testbench: Bench, on_chip: bool, slow: bool, shorter: bool, tmp_path: Path
) -> None:
    sequence = chain(testbench[0], on_chip, [1, 2, 3, 4])
    assert replay(testbench, sequence, tmp_path, slow=slow, shorter=shorter) == 0


@pytest.mark.parametrize("on_chip", [False, True], ids=["in DDR", "on chip"])
@pytest.mark.parametrize("depends", [[2, 3, 4, 5], [0, 0, 0, 0]], ids=["one step short", "not at all"])
def test_a_step_that_does_not_wait_is_seen_to_read_too_early(
    testbench: Bench, depends: list[int], on_chip: bool, tmp_path: Path
) -> None:
    assert replay(testbench, chain(testbench[0], on_chip, depends), tmp_path, slow=True) != 0


@DEPTHS
def test_queues_that_overflow_do_not_hang(testbench: Bench, shorter: bool, tmp_path: Path) -> None:
    """More planes and patterns than their queues hold, tables in both places, tiny steps, maxima, many blocks."""
    array, _ = testbench
    width = array.oc_groups
    cases = [
        Case(channels=8 * 150, height=2, width=2, outputs=8),
        Case(channels=64, outputs=72, kernel=(3, 3), pads=(1, 1, 1, 1), lookup=isa.Lookup.BEFORE, tile=(2, 3)),
        Case(channels=8 * width, outputs=8 * width, mode=isa.Mode.MAX, kernel=(2, 2), groups_per_chunk=width),
        Case(height=12, width=12, outputs=40, combine=isa.Combine.MULTIPLY, lookup=isa.Lookup.AFTER, shifts=(0, 0, 7)),
        Case(channels=24, outputs=40, kernel=(3, 3), groups_per_step=1, tile=(1, 2), lookup=isa.Lookup.AFTER),
        Case(height=1, width=1, channels=40, outputs=100, groups_per_step=2),
        Case(outputs=48, combine=isa.Combine.ADD, broadcast=True, tile=(1, 1)),
    ]
    parts = [build(case, array) for case in cases * 2]
    sequence = join(parts, array)
    for number in range(len(parts)):
        # Behind a layer's patterns come others that no tap uses.
        layer = sequence.layer(number)
        patterns = np.zeros(array.max_patterns * array.pattern_words, dtype="<u8")
        used = int(layer.pattern_count) * array.pattern_words
        patterns[:used] = sequence.buffer[int(layer.pattern_table) :][:used]
        sequence.change_layer(number, pattern_count=array.max_patterns, pattern_table=sequence.buffer.size)
        sequence.buffer = np.concatenate([sequence.buffer, patterns])
    assert replay(testbench, sequence, tmp_path, shorter=shorter) == 0


def test_a_difference_is_found(testbench: Bench, tmp_path: Path) -> None:
    sequence = join([build(Case(), testbench[0])], testbench[0])
    before = sequence.buffer.copy()
    sequence.buffer[-1] ^= np.uint64(1)
    registers = (sequence.layer_table, 1, sequence.counters)
    save_case(tmp_path / "case", testbench[0], before, sequence.buffer, registers, (0, before.size))
    assert status(testbench[1], str(tmp_path / "case")) == 1


@DEPTHS
def test_a_compiled_network(testbench: Bench, shorter: bool, tmp_path: Path) -> None:
    """Residual additions, tensors on chip, and waits as the compiler chose them."""
    array, network = testbench[0], named("resnet20-32")
    program, _ = lower(quantised(network), array, MEMORY)
    buffer = np.zeros(program.size, dtype=np.uint64)
    buffer[: program.image.size] = program.image
    codes = program.codes(network.images(1))[0]
    buffer[program.input.address :][: program.input.words] = program.input.pack(codes)
    (whole,) = segments(program)
    assert (np.asarray(program.layers().out_base) & isa.ON_CHIP).any()
    sequence = Sequence(buffer, whole.layer_table, whole.counters, whole.step_count, [])
    assert replay(testbench, sequence, tmp_path, shorter=shorter) == 0


@DEPTHS
def test_runs_follow_each_other(testbench: Bench, shorter: bool) -> None:
    """The testbench's own programs, in one process."""
    assert status(testbench[1], shorter=shorter) == 0
