"""The compiler from end to end: ONNX model and calibration images in, program with its proofs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from proprune_cli.accel import interpret
from proprune_cli.accel.array import Array
from proprune_cli.accel.boards import Board
from proprune_cli.accel.check import check_program
from proprune_cli.accel.memory import Memory
from proprune_cli.accel.program import Program, stack, to_codes, unstack
from proprune_cli.accel.timing import estimate
from proprune_cli.compile.cluster.streams import cluster
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.lower.array_macs import array_macs
from proprune_cli.compile.lower.batch import batched
from proprune_cli.compile.lower.dense import network_products
from proprune_cli.compile.lower.emit import emit
from proprune_cli.compile.lower.fuse import fuse
from proprune_cli.compile.lower.weight_stream import TiledLayer, tiled_layers
from proprune_cli.compile.plan import make_plan
from proprune_cli.compile.qdq.export import to_qdq
from proprune_cli.compile.quantise.calibration import open_session, run_session
from proprune_cli.compile.quantise.network import QuantReport, quantise
from proprune_cli.errors import DoesNotFitError, ProPruneError, UnsupportedError
from proprune_cli.ir.graph import Graph
from proprune_cli.ir.nodes import Host
from proprune_cli.ir.quantized import QGraph
from proprune_cli.work.macs import ArrayMacs, NetworkMacs
from proprune_cli.work.plan import Plan

Codes = NDArray[np.int8]
OnStage = Callable[[str], None]


class ExecutorMismatchError(ProPruneError):
    """The program and its QDQ model disagree: the artifact would not be trustworthy, so there is none."""


@dataclass(frozen=True)
class Compiled:
    """What ``compile_model`` returns.

    Attributes:
        program: the engine's program.
        qdq: the same network as a serialised QDQ ONNX model.
        plan: the per-layer plan.
        golden_input: float32 [batch, C, H, W], the first calibration images (again from the first where there are
            fewer). golden_codes_in: int8 [C, batch * H, W], their codes. golden_codes_out: int8 [C, batch * H, W] for
            each output, the program's answer, on which interpreter and ONNX Runtime agree.
        results: names of the network's outputs in their order: the program's and those of ``host``.
        report: the quantiser's report (JSON data).
        host: serialised ONNX model of what follows the engine's part on the host, empty where nothing does.
    """

    program: Program
    qdq: bytes
    plan: Plan
    golden_input: NDArray[np.float32]
    golden_codes_in: Codes
    golden_codes_out: tuple[Codes, ...]
    results: tuple[str, ...]
    report: dict[str, Any]
    host: bytes = b""


def compile_model(
    source: Path | onnx.ModelProto,
    calibration: NDArray[np.float32],
    array: Array,
    board: Board,
    on_stage: OnStage | None = None,
    *,
    allow_host: bool = True,
    batch: int = 1,
) -> Compiled:
    """Compile an ONNX model for ``array`` on ``board``.

    Args:
        calibration: float32 [N, C, H, W], images as the network takes them.
        on_stage: called with the name of each stage as it starts.
        allow_host: whether operators may run on the host, at the end or in between; else a network that has any is
            refused.
        batch: images that the program takes per start.

    Raises:
        ProPruneError: the model or the images are wrong (exit 1), unsupported or too large (exit 3).
    """
    scheduled = schedule_model(source, calibration, array, board, on_stage, allow_host=allow_host, batch=batch)
    program, quantised = scheduled.program, scheduled.quantised
    if on_stage is not None:
        on_stage("verify")
    check_program(program, array)
    image = np.ascontiguousarray(calibration[np.arange(batch) % len(calibration)], dtype=np.float32)
    codes_in = stack(program.codes(image))
    codes_out = interpret.run(program, codes_in).outputs
    qdq = to_qdq(quantised).SerializeToString()
    # One thread: how work is divided may change the last bit of what the host computes.
    threads = 1 if program.host_steps else 0
    _check_agreement(qdq, threads, image, program, codes_out, quantised.name)
    timing = estimate(program, array, Memory.of(board, array))
    tail, order = scheduled.imported.host_tail, cluster(quantised)[1]
    return Compiled(
        program=program,
        qdq=qdq,
        plan=make_plan(
            scheduled.layers,
            program,
            timing,
            array,
            scheduled.asked,
            order,
            tail.operators if tail is not None else (),
        ),
        golden_input=image,
        golden_codes_in=codes_in,
        golden_codes_out=codes_out,
        results=scheduled.imported.results,
        report=dataclasses.asdict(scheduled.report) | {"note": scheduled.imported.note},
        host=tail.model if tail is not None else b"",
    )


@dataclass(frozen=True)
class Scheduled:
    """A program and what it was made from, not yet proven.

    Attributes:
        imported: the float network. quantised, report: the same in integers, and how that fared.
        layers: the program's passes with taps and tiling.
    """

    imported: Graph
    quantised: QGraph
    report: QuantReport
    program: Program
    layers: tuple[TiledLayer, ...]

    @property
    def asked(self) -> NetworkMacs:
        """Multiply-accumulates that the network asks for, of one start."""
        return network_products(self.quantised).times(self.program.batch)

    def array_macs(self, array: Array) -> ArrayMacs:
        """Multiply-accumulates that ``array`` does, of one start."""
        return sum((array_macs(tiled, array) for tiled in self.layers), ArrayMacs())


def schedule_model(
    source: Path | onnx.ModelProto,
    calibration: NDArray[np.float32],
    array: Array,
    board: Board,
    on_stage: OnStage | None = None,
    *,
    allow_host: bool = True,
    batch: int = 1,
) -> Scheduled:
    """`compile_model` without its proofs: what predicting a network takes. Arguments and errors are the same."""
    stage = on_stage or (lambda _: None)
    stage("import")
    imported = import_onnx(source)
    graph = canonicalise(imported)
    if not allow_host:
        _refuse_host(graph, list(imported.host_tail.operators) if imported.host_tail is not None else [])
    stage("quantise")
    quantised, report = quantise(graph, calibration)
    stage("schedule")
    program, layers = lower(quantised, array, Memory.of(board, array), batch)
    _check_memory(program, board)
    return Scheduled(imported, quantised, report, program, layers)


def _refuse_host(graph: Graph, tail: list[str]) -> None:
    """Refuse a network of which the host would compute a part.

    Args:
        tail: the operators after the engine's part.

    Raises:
        UnsupportedError: naming every operator of the host.
    """
    steps = [node for node in graph.nodes if isinstance(node, Host)]
    operators = [operator for node in steps for operator in node.operators]
    if operators or tail:
        where = f"node {steps[0].name!r} ({', '.join(steps[0].operators)})" if steps else f"network {graph.name!r}"
        raise UnsupportedError(
            f"{', '.join([*operators, *tail])} would run on the host",
            where=where,
            remedy="leave out --no-host, or "
            + ("replace these operators in the model" if steps else "cut these operators off the model"),
        )


def lower(graph: QGraph, array: Array, memory: Memory, batch: int = 1) -> tuple[Program, tuple[TiledLayer, ...]]:
    """Taps, tiling, allocation and emission of a quantised network, for ``batch`` images per start.

    Raises:
        UsageError: ``batch`` is less than 1.
        DoesNotFitError: a layer fits no tile, or a table or field is too small.
    """
    passes = batched(fuse(cluster(graph)[0]), batch, array)
    layers = tiled_layers(passes.layers, array, memory)
    program = dataclasses.replace(emit(passes, layers, array), preprocess=graph.preprocess)
    return program, layers


def _check_memory(program: Program, board: Board) -> None:
    if program.bytes > board.cma_bytes:
        raise DoesNotFitError(
            f"the program needs {program.bytes / 2**20:.1f} MiB of contiguous memory, {board.name} has "
            f"{board.cma_bytes / 2**20:.0f} MiB",
            where="DDR allocation",
            remedy="prune the network, reduce its input size, or raise the board's CMA (kernel option cma=)",
        )


def _check_agreement(
    qdq: bytes, threads: int, image: NDArray[np.float32], program: Program, codes: tuple[Codes, ...], name: str
) -> None:
    """ONNX Runtime on the QDQ model must give the very codes that the interpreter gave."""
    session = open_session(qdq, threads=threads)
    # One by one: how many images ONNX Runtime has before it may change the last bit of what the host computes.
    name = session.get_inputs()[0].name
    single = [run_session(session, None, {name: image[n : n + 1]}) for n in range(len(image))]
    answers = [np.concatenate(parts) for parts in zip(*single, strict=True)]
    for output, real, mine in zip(program.outputs, answers, codes, strict=True):
        alone = unstack(mine, program.batch)
        expected = to_codes(real.astype(np.float32).reshape(alone.shape), output.plane.exponent)
        differing = int((expected != alone).sum())
        if not differing:
            continue
        raise ExecutorMismatchError(
            f"ONNX Runtime and the program interpreter differ in {differing} of {mine.size} output codes",
            where=f"network {name!r}, output {output.name!r}, golden image",
            remedy="compile on another processor: without VNNI, ONNX Runtime's int8 kernels may saturate; if it stays, "
            "the fault is proprune's",
        )
