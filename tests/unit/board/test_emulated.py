"""The emulated board: the driver's protocol, memory that runs out, caches that must be flushed, refusals."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from proprune_cli.accel import isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.accel.interpret import InterpreterEngine
from proprune_cli.accel.program import HostStep, Plane, Program, ProgramOutput
from proprune_cli.board.agent import driver
from proprune_cli.board.emulated import EmulatedBoard, EmulatedRegisters
from proprune_cli.board.interpreter import InterpreterBoard
from proprune_cli.board.memory import CMA_BASE, PAGE_BYTES, ContiguousMemory
from proprune_cli.errors import BoardError, DoesNotFitError, ExitCode, InputError

BOARD = load_board("pynq-z2")
ARRAY = load_array("z7020-256")
REGISTERS = {r.name: r.offset for r in isa.REGISTERS}
X = np.arange(-32, 32, dtype=np.int8).reshape(4, 4, 4)


def doubling_program(size: int = 0) -> Program:
    """One 1×1 layer that doubles 4 channels of 4×4 pixels; weight 1, multiplier 2 · 2^16 / 2^3 with weight 8."""
    layer = isa.LayerDescriptor.WORDS
    step, groups, pattern, stream = layer, layer + 6, layer + 7, layer + 11
    tap_weights = np.zeros((ARRAY.oc, ARRAY.ic), dtype=np.int8)
    tap_weights[range(4), range(4)] = 64
    words = ARRAY.block_words + ARRAY.tap_words
    counters = stream + words
    x, y = (Plane(counters + 4 + i * 16, 4, 4, 4, 0) for i in range(2))
    image = np.zeros(counters, dtype=np.uint64)
    select = sum(lane % 8 << 3 * lane for lane in range(16))
    image[:layer] = isa.LayerDescriptor(
        stride_y=1, stride_x=1, groups_per_chunk=1, step_table=step, step_count=1, in_width=4, in_height=4,
        group_table=groups, pitch=4, chunk_cells=16, pattern_table=pattern, pattern_count=1, out_base=y.address,
        out_plane=16, out_pitch=4, out_step_y=1, out_step_x=1, in_pitch=4, lane_select_0=select,
    ).encode()[0]  # fmt: skip
    image[step : step + 6] = isa.StepDescriptor(
        rows=4, cols=4, tile_height=4, tile_width=4, groups=1, beats=8, blocks=1, weights=stream, weight_words=words,
        taps=1, iterations=8, emit_blocks=1, emit_groups=1,
    ).encode()[0]  # fmt: skip
    image[groups] = x.address
    image[stream] = isa.BlockHeader(taps=1, init=1, emit=1, groups=1).encode()[0, 0]
    image[stream + 5 : stream + 7] = np.full(8, 2048, dtype="<u2").view("<u8")  # 64 · 2048 / 2^16 = 2
    image[stream + ARRAY.block_words + 1 :][:16] = tap_weights.reshape(-1).view("<u8")
    outputs = (ProgramOutput("y", y, (4, 4, 4)),)
    return Program(ARRAY.name, ARRAY.digest, image, size or y.address + 16, 0, counters, ("double",), x, outputs)


def emulated() -> EmulatedBoard:
    return EmulatedBoard(BOARD, ARRAY, InterpreterEngine(ARRAY))


@pytest.mark.parametrize("session", [emulated(), InterpreterBoard(ARRAY)], ids=["emulated", "interpreter"])
def test_a_session_runs_a_program_again_and_again(session: EmulatedBoard | InterpreterBoard) -> None:
    session.load(doubling_program())
    for x in (X, X[::-1], -X):
        result = session.run(np.ascontiguousarray(x))
        np.testing.assert_array_equal(result.outputs[0], 2 * x)
        assert result.counters.row(0).store_words == 16
        assert result.host_seconds > 0


def test_the_compiled_engine_gives_the_same_output_and_counters() -> None:
    native, reference = EmulatedBoard(BOARD, ARRAY), emulated()
    results = []
    for session in (native, reference):
        session.load(doubling_program())
        results.append(session.run(X))
    np.testing.assert_array_equal(results[0].outputs[0], results[1].outputs[0])
    assert results[0].counters.row(0) == results[1].counters.row(0)
    assert native.digest() == reference.digest() == int(ARRAY.digest[:8], 16)


@pytest.mark.parametrize("session", [emulated(), InterpreterBoard(ARRAY)], ids=["emulated", "interpreter"])
def test_a_session_refuses_what_it_cannot_run(session: EmulatedBoard | InterpreterBoard) -> None:
    with pytest.raises(BoardError, match="no program is loaded"):
        session.run(X)
    with pytest.raises(BoardError) as caught:
        session.load(replace(doubling_program(), digest="0badc0de" + "0" * 56))
    assert ARRAY.digest[:8] in caught.value.what
    assert "0badc0de" in caught.value.what
    assert caught.value.exit_code == ExitCode.BOARD
    session.load(doubling_program())
    with pytest.raises(InputError, match=r"int8 \[4, 4, 3\]"):
        session.run(X[:, :, :3])


def test_a_refused_program_leaves_nothing_loaded() -> None:
    board = emulated()
    board.load(doubling_program())
    with pytest.raises(BoardError, match="contract digest"):
        board.load(replace(doubling_program(), digest="0" * 64))
    with pytest.raises(BoardError, match="no program is loaded"):
        board.run(X)
    assert board.memory.used == 0


def test_contiguous_memory_runs_out_and_says_by_how_much() -> None:
    board = emulated()
    with pytest.raises(DoesNotFitError, match=r"needs 160\.0 MiB.* of 120 MiB is 120\.0 MiB"):
        board.load(doubling_program(size=160 << 17))
    board.load(doubling_program())


def test_loading_again_gives_the_old_buffer_back() -> None:
    board = emulated()
    for _ in range(3):
        board.load(doubling_program(size=100 << 17))
    assert board.memory.used == 100 << 20


def test_a_fragmented_memory_fills_its_gaps() -> None:
    memory = ContiguousMemory(10 * PAGE_BYTES, "test")
    page = PAGE_BYTES // isa.WORD_BYTES
    a, b, _ = (memory.allocate(n * page) for n in (3, 2, 4))
    a.freebuffer()
    with pytest.raises(DoesNotFitError):
        memory.allocate(4 * page)
    assert memory.allocate(2 * page + 1).physical_address == CMA_BASE
    assert memory.allocate(1).physical_address == CMA_BASE + 9 * PAGE_BYTES
    assert b.physical_address == CMA_BASE + 3 * PAGE_BYTES


def test_writes_reach_the_engine_only_through_a_flush_and_back_only_through_an_invalidate() -> None:
    buffer = ContiguousMemory(PAGE_BYTES, "test").allocate(16)
    buffer[0:2] = [1, 2]
    assert not buffer.engine_view.any()
    buffer.flush()
    assert buffer.engine_view[:2].tolist() == [1, 2]
    buffer.engine_view[8] = 7
    assert buffer[8:9].tolist() == [0]
    buffer[12:13] = 5
    buffer.flush()
    assert buffer.engine_view[8] == 7  # a flush leaves lines alone that the processor did not change
    buffer[0:1] = 9
    buffer.invalidate()
    assert buffer[0:13].tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5]


def test_a_driver_that_forgets_to_flush_computes_on_stale_input(monkeypatch: pytest.MonkeyPatch) -> None:
    board = emulated()
    board.load(doubling_program())
    board.run(X)
    monkeypatch.setattr("proprune_cli.board.memory.EmulatedBuffer.flush", lambda self: None)
    np.testing.assert_array_equal(board.run(-X).outputs[0], 2 * X)


def test_the_engine_rings_once_for_a_whole_network() -> None:
    memory = ContiguousMemory(PAGE_BYTES, "test")
    writes: list[tuple[int, int]] = []

    class Recorder(EmulatedRegisters):
        def write(self, offset: int, value: int) -> None:
            writes.append((offset, value))
            super().write(offset, value)

    registers = {r.name: (r.offset, r.width) for r in isa.REGISTERS}
    d = driver.Driver(Recorder(InterpreterEngine(ARRAY), memory), registers, memory.allocate)
    p = doubling_program()
    outputs = ((p.outputs[0].plane.address, 16),)
    d.load(
        driver.Job(p.size, (driver.Range(0, 1, p.counters),), 1, p.counters, 4, p.input.address, 16, outputs), p.image
    )
    d.run(p.input.pack(X))
    assert writes.count((REGISTERS["control"], driver.START)) == 1
    for pointer in driver.POINTERS:
        assert (REGISTERS[pointer], CMA_BASE) in writes
        assert (REGISTERS[pointer] + 4, 0) in writes


def test_register_accesses_that_a_board_would_not_answer_are_bus_errors() -> None:
    registers = EmulatedRegisters(InterpreterEngine(ARRAY), ContiguousMemory(PAGE_BYTES, "test"))
    for access in (
        lambda: registers.read(0x18),
        lambda: registers.write(0x18, 1),
        lambda: registers.write(REGISTERS["digest"], 1),
        lambda: registers.write(REGISTERS["features"], 1 << 32),
    ):
        with pytest.raises(BoardError, match="bus error"):
            access()


def test_an_engine_pointed_elsewhere_is_a_bus_error() -> None:
    memory = ContiguousMemory(PAGE_BYTES, "test")
    registers = EmulatedRegisters(InterpreterEngine(ARRAY), memory)
    registers.write(REGISTERS["step_count"], 1)
    with pytest.raises(BoardError, match="where no buffer starts"):
        registers.write(REGISTERS["control"], driver.START)
    registers.write(REGISTERS["results"], memory.allocate(8).physical_address)
    with pytest.raises(BoardError, match="different buffers"):
        registers.write(REGISTERS["control"], driver.START)


def test_done_clears_when_read() -> None:
    registers = EmulatedRegisters(InterpreterEngine(ARRAY), ContiguousMemory(PAGE_BYTES, "test"))
    registers.write(REGISTERS["control"], driver.START)
    assert registers.read(REGISTERS["control"]) == driver.IDLE | driver.DONE
    assert registers.read(REGISTERS["control"]) == driver.IDLE
    assert registers.read(REGISTERS["digest"]) == int(ARRAY.digest[:8], 16)


class Stuck:
    """Registers of an engine that never finishes, or stops early."""

    def __init__(self, status: list[int], completed: int = 0) -> None:
        self.status, self.completed = status, completed

    def read(self, offset: int) -> int:
        if offset == REGISTERS["control"]:
            return self.status.pop(0) if len(self.status) > 1 else self.status[0]
        return self.completed

    def write(self, offset: int, value: int) -> None:
        pass


@pytest.mark.parametrize(
    ("registers", "message"),
    [
        (Stuck([driver.IDLE, 0]), "not done after 0.01 s"),
        (Stuck([0]), "busy"),
        (Stuck([driver.IDLE, driver.DONE], completed=3), "completed 3 of 5 steps"),
    ],
)
def test_an_engine_that_fails_is_reported(registers: Stuck, message: str) -> None:
    memory = ContiguousMemory(PAGE_BYTES, "test")
    offsets = {r.name: (r.offset, r.width) for r in isa.REGISTERS}
    d = driver.Driver(registers, offsets, memory.allocate, timeout=0.01)
    d.load(driver.Job(64, (driver.Range(0, 5, 0),), 5, 0, 4, 32, 1, ((40, 1),)), np.zeros(8, dtype=np.uint64))
    with pytest.raises(driver.DriverError, match=message):
        d.run(np.zeros(1, dtype=np.uint64))


def test_a_driver_error_reaches_the_user_as_a_board_error() -> None:
    class Lazy(InterpreterEngine):
        def run(
            self, buffer: np.ndarray, layer_table: int, step_count: int, counters: int, seconds: float = 0.0
        ) -> int:
            return 0

    board = EmulatedBoard(BOARD, ARRAY, Lazy(ARRAY))
    board.load(doubling_program())
    with pytest.raises(BoardError, match="completed 0 of 1 steps") as caught:
        board.run(X)
    assert caught.value.where == "emulated:pynq-z2"


def with_host_step(after: int) -> Program:
    """The doubling program, and a step that negates (ONNX Neg) its result, or its input before it doubles that."""
    p = doubling_program(size=200)
    doubled = p.outputs[0].plane
    place = dataclasses.replace(doubled, address=doubled.address + 16)
    negate = helper.make_node("Neg", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.INT8, [1, 4, 4, 4]) for name in "xy"]
    graph = helper.make_graph([negate], "host", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    if after:
        outputs = (dataclasses.replace(p.outputs[0], plane=place),)
        return dataclasses.replace(
            p, outputs=outputs, host_steps=(HostStep("neg", ("Neg",), 1, (doubled,), place, model),)
        )
    return dataclasses.replace(p, input=place, host_steps=(HostStep("neg", ("Neg",), 0, (place,), p.input, model),))


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("session", [emulated(), InterpreterBoard(ARRAY)], ids=["emulated", "interpreter"])
def test_a_step_of_the_host_runs_before_or_after_the_layer(
    session: EmulatedBoard | InterpreterBoard, after: int
) -> None:
    session.load(with_host_step(after))
    for x in (X, X[::-1].copy()):
        result = session.run(x)
        np.testing.assert_array_equal(result.outputs[0], -2 * x)
        assert len(np.asarray(result.counters.taps)) == 1


def test_the_driver_is_rung_for_each_range_and_refuses_to_go_on_without_its_host() -> None:
    memory = ContiguousMemory(PAGE_BYTES, "test")
    registers = {r.name: (r.offset, r.width) for r in isa.REGISTERS}
    d = driver.Driver(EmulatedRegisters(InterpreterEngine(ARRAY), memory), registers, memory.allocate)
    p = with_host_step(1)
    step = p.host_steps[0]
    host = driver.HostTensors(((step.inputs[0].address, 16),), (step.output.address, 16))
    outputs = (step.output.address, 16), (step.inputs[0].address, 16)
    ranges = (driver.Range(0, 1, p.counters, (host,)),)
    job = driver.Job(p.size, ranges, 1, p.counters, 4, p.input.address, 16, outputs)
    d.load(job, p.image)
    with pytest.raises(driver.DriverError, match="nothing was given to compute it"):
        d.run(p.input.pack(X))
    given: list[tuple[int, int]] = []

    def negate(number: int, words: list[np.ndarray]) -> np.ndarray:
        given.append((number, len(words)))
        return (-words[0].view(np.int8)).view(np.uint64)

    (words, doubled), _ = d.run(p.input.pack(X), negate)
    np.testing.assert_array_equal(step.output.unpack(words), -2 * X)
    np.testing.assert_array_equal(step.output.unpack(doubled), 2 * X)
    assert given == [(0, 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"after": 2}, "does not stand between layers"),
        ({"output": Plane(0, 4, 4, 4, 0)}, "outside the tensors' memory"),
        ({"inputs": (Plane(190, 4, 4, 4, 0),)}, "outside the buffer"),
        ({"output": Plane(100, 4, 5, 4, 0)}, "int8 [1, 4, 5, 4] is expected"),
        ({"model": b"no model"}, "ONNX Runtime refuses"),
    ],
)
def test_a_step_that_cannot_run_is_refused(change: dict, message: str) -> None:
    p = with_host_step(1)
    session = InterpreterBoard(ARRAY)
    with pytest.raises(InputError, match=re.escape(message)):
        session.load(dataclasses.replace(p, host_steps=(dataclasses.replace(p.host_steps[0], **change),)))
        session.run(X)
