"""Running an artifact: on an emulated board, in the interpreter, or as its QDQ model on this host."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.program import stack, unstack
from proprune_cli.artifact import Artifact, check_contract
from proprune_cli.artifact.codes import dequantise_output, quantise_images
from proprune_cli.errors import BoardError, UsageError

CPU = "cpu"
"""Name of this host as a place to run: ONNX Runtime on the QDQ model."""


class Executor(Protocol):
    """Something that turns input codes into output codes."""

    @property
    def name(self) -> str:
        """As the user named it."""
        ...

    def run(self, codes: NDArray[np.int8]) -> tuple[NDArray[np.int8], ...]:
        """Codes of the images of one start, int8 [C, batch * H, W], to those of each of the program's outputs."""
        ...


class _OnBoard:
    """An artifact's program, loaded into a board session."""

    def __init__(self, artifact: Artifact, board: str, where: str) -> None:
        from proprune_cli.board.registry import open_board

        self.name = board
        self._session = open_board(board, check_contract(artifact, where))
        self._session.load(artifact.program)

    def run(self, codes: NDArray[np.int8]) -> tuple[NDArray[np.int8], ...]:
        return self._session.run(codes).outputs


@dataclass(frozen=True)
class DeployReport:
    """What the check on the board found: every byte of every golden output agreed."""

    artifact: str
    network: str
    board: str
    array: str
    digest: str
    bytes_compared: int
    bytes_different: int
    host_seconds: float


def open_executor(artifact: Artifact, board: str, where: str) -> Executor:
    """The executor that ``board`` names, with the artifact loaded.

    Args:
        board: ``emulated:<board>``, ``interpreter``, ``cpu``, or a real board's name.
        where: the artifact's file name, for messages.

    Raises:
        BoardError: the board cannot be reached, or has another engine.
        UsageError: no such board.
    """
    if board == CPU:
        from proprune_cli.measure.cpu import CpuExecutor

        return CpuExecutor(artifact)
    return _OnBoard(artifact, board, where)


def run_codes(
    executor: Executor, codes: NDArray[np.int8], batch: int, advance: Callable[[], None] = lambda: None
) -> tuple[NDArray[np.int8], ...]:
    """int8 [N, C, H, W] → int8 [N, C, H, W] of each of the program's outputs, as many images at a time as it takes.

    Where the images do not fill the last start, its last image stands there again, and the surplus is dropped.
    """
    answers: list[tuple[NDArray[np.int8], ...]] = []
    for first in range(0, len(codes), batch):
        numbers = np.minimum(np.arange(first, first + batch), len(codes) - 1)
        answers.append(tuple(unstack(part, batch) for part in executor.run(stack(codes[numbers]))))
        for _ in range(min(batch, len(codes) - first)):
            advance()
    return tuple(np.concatenate(parts)[: len(codes)] for parts in zip(*answers, strict=True))


def run_images(
    artifact: Artifact, executor: Executor, images: NDArray[np.float32], advance: Callable[[], None] = lambda: None
) -> dict[str, NDArray[Any]]:
    """float32 [N, C, H, W] → the network's outputs [N, …]: float32, or what its host segment gives (ArgMax: int64)."""
    program = artifact.program
    codes = run_codes(executor, quantise_images(images, program.input), program.batch, advance)
    answers: dict[str, NDArray[Any]] = {
        output.name: dequantise_output(part, output) for output, part in zip(program.outputs, codes, strict=True)
    }
    if artifact.host:
        answers |= artifact.host.run(answers)
    return {name: answers[name] for name in artifact.results}


def deploy(artifact: Artifact, board: str, where: str) -> DeployReport:
    """Run the golden input on the board and compare every byte of the output.

    Raises:
        UsageError: ``board`` is this host, where nothing is deployed.
        BoardError: the board cannot be reached, has another engine, or answered one byte differently.
    """
    if board == CPU:
        raise UsageError(
            "nothing is deployed to this host", where="--board cpu", remedy="name a board, for example emulated:pynq-z2"
        )
    executor = open_executor(artifact, board, where)
    start = time.perf_counter()
    answer = executor.run(artifact.golden.codes_in)
    seconds = time.perf_counter() - start
    program = artifact.program
    several = len(program.outputs) > 1
    differing = sum(
        compare(expected, mine, board, f" of {output.name!r}" if several else "")
        for output, expected, mine in zip(program.outputs, artifact.golden.codes_out, answer, strict=True)
    )
    size = sum(part.size for part in answer)
    return DeployReport(where, artifact.name, board, program.array, program.digest, size, differing, seconds)


def compare(expected: NDArray[np.int8], answer: NDArray[np.int8], board: str, output: str = "") -> int:
    """Number of bytes that differ: 0, for any difference is refused. ``output``: which, for the message.

    Raises:
        BoardError: naming how many bytes differ and the first of them.
    """
    if answer.shape != expected.shape:
        raise BoardError(
            f"the board answered with shape {list(answer.shape)}{output}, {list(expected.shape)} was expected",
            where=board,
        )
    wrong = np.argwhere(answer != expected)
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        raise BoardError(
            f"{len(wrong)} of {answer.size} output bytes{output} differ from the golden output; the first, at "
            f"(channel, row, column) {first}, is {int(answer[first])} where {int(expected[first])} was expected",
            where=board,
            remedy="run `proprune run --board interpreter` on the same input: if it agrees with the golden output, the "
            "board's engine or memory is at fault, otherwise this is a bug of the compiler",
        )
    return len(wrong)
