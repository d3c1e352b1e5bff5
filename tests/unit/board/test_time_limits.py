"""Every place stops a run that takes too long, says so, and leaves nothing running."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from proprune_cli.accel import deadline, interpret
from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.accel.deadline import model_seconds, run_seconds
from proprune_cli.accel.host import run_host_model, try_session
from proprune_cli.artifact import Artifact
from proprune_cli.board import base
from proprune_cli.board.agent import driver
from proprune_cli.board.cpu import CpuExecutor
from proprune_cli.board.emulated import EmulatedBoard
from proprune_cli.board.interpreter import InterpreterBoard
from proprune_cli.board.job import REGISTERS, job_of
from proprune_cli.board.memory import ContiguousMemory
from proprune_cli.board.native import NativeEngine
from proprune_cli.errors import BoardError, ExitCode

ARRAY = load_array("z7020-256")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program has any time."""
    monkeypatch.setattr(base, "run_seconds", lambda steps, iterations: 0.0)


@pytest.mark.parametrize("place", ["emulated", "interpreter"])
def test_a_program_without_end_is_stopped(artifact: Artifact, place: str, hurried: None) -> None:
    session = InterpreterBoard(ARRAY) if place == "interpreter" else EmulatedBoard(load_board("pynq-z2"), ARRAY)
    session.load(artifact.program)
    with pytest.raises(BoardError, match="was stopped after 0 s") as caught:
        session.run(artifact.golden.codes_in)
    assert caught.value.exit_code == ExitCode.BOARD
    assert "many times what the program's work takes" in caught.value.remedy


def test_the_engine_runs_as_ever_after_it_was_stopped(artifact: Artifact) -> None:
    """What was complete when it stopped is known to be: the order of the next run's steps depends on it."""
    engine, program = NativeEngine(ARRAY), artifact.program
    buffer = np.zeros(program.size, dtype="<u8")
    buffer[: program.image.size] = program.image
    packed = program.input.pack(artifact.golden.codes_in)
    buffer[program.input.address :][: packed.size] = packed
    steps = int(np.asarray(program.layers().step_count).sum())
    for _ in range(3):
        with pytest.raises(BoardError, match=f"with 0 of {steps} steps done"):
            engine.run(buffer, program.layer_table, steps, program.counters, 0.0)
        assert engine.run(buffer, program.layer_table, steps, program.counters, 60.0) == steps
        np.testing.assert_array_equal(program.unpack_outputs(buffer)[0], artifact.golden.codes_out[0])


def test_the_interpreter_stops_before_a_step(artifact: Artifact) -> None:
    with pytest.raises(BoardError, match="the interpreter was stopped"):
        interpret.run(artifact.program, artifact.golden.codes_in, -1.0)


class Stuck:
    """Registers of an engine that is never done."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, offset: int) -> int:
        self.reads += 1
        return driver.IDLE if self.reads == 1 else 0

    def write(self, offset: int, value: int) -> None:
        pass


def test_the_driver_polls_as_long_as_the_job_says(artifact: Artifact) -> None:
    """Not as long as any program: one that takes a moment is known to hang after seconds."""
    memory = ContiguousMemory(1 << 20, "test")
    board = driver.Driver(Stuck(), REGISTERS, memory.allocate, timeout=1e6)
    board.load(job_of(artifact.program, 0.02), artifact.program.image)
    with pytest.raises(driver.DriverError, match=r"not done after 0\.02 s"):
        board.run(artifact.program.input.pack(artifact.golden.codes_in))


def endless(trips: int) -> onnx.ModelProto:
    """A model that adds 1 to its int8 input that many times."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"]),
            helper.make_node("Add", ["x", "x"], ["y"]),
        ],
        "body",
        [value("n", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("x", TensorProto.INT32, [1])],
        [value("still", TensorProto.BOOL, []), value("y", TensorProto.INT32, [1])],
    )
    nodes = [
        helper.make_node("Constant", [], ["one"], value=helper.make_tensor("one", TensorProto.INT32, [1], [1])),
        helper.make_node("Constant", [], ["trips"], value=helper.make_tensor("t", TensorProto.INT64, [], [trips])),
        helper.make_node("Loop", ["trips", "", "one"], ["z"], body=body),
        helper.make_node("Cast", ["z"], ["c"], to=TensorProto.INT8),
        helper.make_node("Add", ["c", "image"], ["answer"]),
    ]
    given, made = value("image", TensorProto.INT8, [1, 1, 1, 1]), value("answer", TensorProto.INT8, [1, 1, 1, 1])
    graph = helper.make_graph(nodes, "endless", [given], [made])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_a_host_model_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    model = endless(1 << 60).SerializeToString()
    monkeypatch.setattr(try_session, "__defaults__", (0.3,))
    threads, start = threading.active_count(), time.monotonic()
    with pytest.raises(BoardError, match=r"the host's part of one image was stopped after 0\.3 s") as caught:
        run_host_model(model, (np.zeros((1, 1, 1), dtype=np.int8),), (1, 1, 1), "step 'far'")
    assert caught.value.exit_code == ExitCode.BOARD
    assert time.monotonic() - start < 20
    assert threading.active_count() <= threads


def test_the_model_on_this_host_is_stopped(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    given = np.asarray([1])

    class Session:
        def run(self, names: object, feeds: object, options: Any) -> list[Any]:
            """As ONNX Runtime: it looks at the flag between operators."""
            while not options.terminate:
                time.sleep(0.01)
            raise RuntimeError("Exiting due to terminate flag being set to true.")

    executor = CpuExecutor(artifact)
    executor._session, executor._seconds = Session(), 0.1
    with pytest.raises(BoardError, match=r"cpu was stopped after 0\.1 s"):
        executor.run_float(given)


@pytest.mark.parametrize("macs", [-5, 2**80, "many", None])
def test_a_plan_cannot_ask_for_any_time(artifact: Artifact, macs: object) -> None:
    plan = dataclasses.replace(artifact.plan, totals=dataclasses.replace(artifact.plan.totals, macs=macs))  # type: ignore[arg-type]
    executor = CpuExecutor(dataclasses.replace(artifact, plan=plan))
    assert deadline.LEAST_SECONDS <= executor._seconds < threading.TIMEOUT_MAX


def test_limits_grow_with_the_work() -> None:
    assert run_seconds(0, 0) == model_seconds(0) == deadline.LEAST_SECONDS
    # ResNet-50's: the interpreter takes a minute for it.
    assert run_seconds(2_000, 20_000_000) > 600
    assert model_seconds(4_000_000_000) > 200
