"""Running an artifact: on an emulated board, in the interpreter, or as its QDQ model on this host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.program import Program, stack, unstack
from proprune_cli.artifact import Artifact
from proprune_cli.artifact.codes import dequantise_output
from proprune_cli.board.base import Executor
from proprune_cli.board.registry import open_executor, place_of
from proprune_cli.errors import BoardError, UsageError


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


def run_codes(
    executor: Executor, codes: NDArray[np.int8], batch: int, advance: Callable[[], None] = lambda: None
) -> tuple[NDArray[np.int8], ...]:
    """int8 [N, C, H, W] → int8 [N, C, H, W] of each of the program's outputs, as many images at a time as it takes.

    Where the images do not fill the last start, its last image stands there again, and the surplus is dropped.
    """
    answers: list[tuple[NDArray[np.int8], ...]] = []
    for first in range(0, len(codes), batch):
        numbers = np.minimum(np.arange(first, first + batch), len(codes) - 1)
        answers.append(tuple(unstack(part, batch) for part in executor.run(stack(codes[numbers])).outputs))
        for _ in range(min(batch, len(codes) - first)):
            advance()
    return tuple(np.concatenate(parts)[: len(codes)] for parts in zip(*answers, strict=True))


def run_images(
    artifact: Artifact, executor: Executor, images: NDArray[np.float32], advance: Callable[[], None] = lambda: None
) -> dict[str, NDArray[Any]]:
    """float32 [N, C, H, W] → the network's outputs [N, …]: float32, or what its host segment gives (ArgMax: int64)."""
    program = artifact.program
    codes = run_codes(executor, program.codes(images), program.batch, advance)
    answers: dict[str, NDArray[Any]] = {
        output.name: dequantise_output(part, output) for output, part in zip(program.outputs, codes, strict=True)
    }
    if artifact.host:
        answers |= artifact.host.run(answers)
    return {name: answers[name] for name in artifact.results}


CLIPPED = 0.05
"""Share of input values beyond the calibrated range from which on it is said."""


def clipped_share(program: Program, images: NDArray[Any]) -> float:
    """Share of the values of ``images``, float32 or uint8 [N, C, H, W], that lie beyond the codes of the input."""
    return clipped_values(program, images) / images.size


def clipped_values(program: Program, images: NDArray[Any]) -> int:
    """Values of ``images``, float32 or uint8 [N, C, H, W], that lie beyond the codes of the input."""
    highest, beyond = 127.5 * 2.0**program.input.exponent, 0
    lowest = -128.5 * 2.0**program.input.exponent
    for at in range(0, len(images), 64):
        real = program.real_input(images[at : at + 64].astype(np.float32, copy=False))
        beyond += int(np.count_nonzero((real > highest) | (real < lowest)))
    return beyond


def deploy(artifact: Artifact, board: str, where: str) -> DeployReport:
    """Run the golden input on the board and compare every byte of the output.

    Raises:
        UsageError: ``board`` is this host, where nothing is deployed.
        BoardError: the board cannot be reached, has another engine, or answered one byte differently.
    """
    if place_of(board).open is None:
        raise UsageError(
            "nothing is deployed to this host",
            where=f"--board {board}",
            remedy="name a board, for example emulated:pynq-z2",
        )
    executor = open_executor(artifact, board, where)
    run = executor.run(artifact.golden.codes_in)
    answer = run.outputs
    program = artifact.program
    several = len(program.outputs) > 1
    differing = sum(
        compare(expected, mine, board, f" of {output.name!r}" if several else "")
        for output, expected, mine in zip(program.outputs, artifact.golden.codes_out, answer, strict=True)
    )
    size = sum(part.size for part in answer)
    return DeployReport(where, artifact.name, board, program.array, program.digest, size, differing, run.host_seconds)


def compare(expected: NDArray[np.int8], answer: NDArray[np.int8], board: str, output: str = "") -> int:
    """Number of bytes that differ: 0, for any difference is refused. ``output``: which, for the message.

    Raises:
        BoardError: naming how many bytes differ and the first of them.
    """
    if answer.shape != expected.shape:
        raise BoardError(
            f"the board answered with shape {list(answer.shape)}{output}, {list(expected.shape)} was expected",
            where=board,
            remedy="deploy the artifact again; if it stays, the board runs another engine or agent than this version's",
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
