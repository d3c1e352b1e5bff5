"""The whole toolchain in one go: train, prune, compile, run on the emulated board, compare before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proprune_cli.accel.array import load_array
from proprune_cli.accel.boards import load_board
from proprune_cli.artifact import Artifact
from proprune_cli.board.cpu import CpuExecutor
from proprune_cli.board.registry import open_executor
from proprune_cli.compile.options import CompileOptions
from proprune_cli.data.load import load_data
from proprune_cli.errors import GateError, UsageError
from proprune_cli.flow.build import CALIBRATION, build
from proprune_cli.flow.execute import run_codes
from proprune_cli.flow.prune import missed, prune, prune_into
from proprune_cli.measure.predicted import predict
from proprune_cli.measure.records import BenchRecord
from proprune_cli.prune import Budget, PruneOptions, PruneResult, TrainOptions
from proprune_cli.prune.result import NETWORK_FILES, NetworkFigures
from proprune_cli.train.progress import Progress

BOARD = "pynq-z2"
EMULATED = f"emulated:{BOARD}"

PRESETS: dict[str, PruneOptions] = {
    "digits": PruneOptions(
        model="resnet8",
        data="digits?size=32",
        budget=Budget("ops", 0.5),
        epochs=16,
        finetune_epochs=8,
        # One thread: so small a network gains little from two, and loses much where they wait for each other.
        train=TrainOptions(batch=64, threads=1),
        test_images=0,
    ),
    "fashion-mnist": PruneOptions(
        model="resnet8", data="fashion-mnist", budget=Budget("ops", 0.5), epochs=4, finetune_epochs=3, test_images=0
    ),
}
"""What the demonstration trains on each data set; chosen to take minutes on two cores."""


@dataclass(frozen=True)
class DemoRow:
    """One network of the table.

    Attributes:
        float_accuracy: percent of all test images, as trained. int8_accuracy: percent of the ``tested`` test images,
            by the codes that the emulated board returned.
        tested: images that ran on the emulated board.
        bench: predicted figures.
    """

    network: str
    weights: int
    float_accuracy: float
    int8_accuracy: float
    tested: int
    bench: BenchRecord


@dataclass(frozen=True)
class Agreement:
    """How many output bytes of an executor were compared with those of ONNX Runtime, and how many differ."""

    executor: str
    images: int
    bytes_compared: int
    bytes_different: int


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration found."""

    data: str
    model: str
    rows: tuple[DemoRow, ...]
    agreements: tuple[Agreement, ...]
    efficiency: float
    """Prune efficiency: predicted speed-up ÷ reduction of non-zero MACs, of the pruned network."""
    artifacts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


GOAL = "latency=40%"
"""What the demonstration of an objective asks for."""


def with_objective(options: PruneOptions) -> PruneOptions:
    """The same network and training for `GOAL` in one session; the dense network is trained beside it to compare."""
    plain = PruneOptions(options.model, options.data)
    return dataclasses.replace(options, method="codesign", objective=GOAL, budget=plain.budget, reference=True)


def demo(
    data: str,
    out: Path,
    progress: Progress,
    *,
    objective: bool = False,
    data_dir: Path | None = None,
    images: int = 500,
    checked: int = 10,
    on_stage: Callable[[str], None] = lambda _: None,
) -> DemoReport:
    """Run the demonstration in directory ``out``; what is already there is resumed.

    Args:
        objective: learn the network's shape for `GOAL`, in place of pruning half of its operations.
        images: test images that run on the emulated board, at most.
        checked: of those, images that also run in the interpreter and without graph optimisation.

    Raises:
        UsageError: no preset for ``data``.
        GateError: two executors differ in a byte.
        BudgetError: the objective was missed.
    """
    if data not in PRESETS:
        raise UsageError(
            f"the demonstration knows no data set {data!r}",
            where="--data",
            remedy=f"choose one of {', '.join(PRESETS)}",
        )
    options = dataclasses.replace(PRESETS[data], data_dir=data_dir)
    if objective:
        options = with_objective(options)
    run = out / "run"
    # Forced: a preset that changed since the directory was made keeps the stages it does not touch.
    if objective:
        result, check = prune(options, run, progress, force=True)
        over = missed(options, run, result, check)
        if over is not None:
            raise over
    else:
        result = prune_into(options, run, progress, force=True)
    test = load_data(options.data, data_dir=data_dir, validation=options.validation, seed=options.seed)
    chosen = np.linspace(0, len(test.test) - 1, min(images, len(test.test)), dtype=np.int64)
    sample = test.test.images[chosen].astype(np.float32)
    labels = test.test.labels[chosen]

    rows: list[DemoRow] = []
    agreements: list[Agreement] = []
    paths: list[str] = []
    for name, file, figures in _networks(result):
        on_stage(f"compile the {name} network")
        artifact = build(run / file, CompileOptions(BOARD, calibration=str(run / CALIBRATION)))
        artifact = dataclasses.replace(artifact, name=name)
        path = out / f"{name}.ppr"
        artifact.save(path)
        paths.append(str(path))
        on_stage(f"run the {name} network")
        codes = artifact.program.codes(sample)
        answers, found = _compared(artifact, codes, checked)
        agreements += found
        accuracy = float((answers.reshape(len(answers), -1).argmax(axis=1) == labels).mean() * 100)
        bench = predict(artifact, path.name, load_board(BOARD), load_array(artifact.program.array))
        rows.append(DemoRow(name, figures.params, figures.test_accuracy, accuracy, len(sample), bench))
    dense, pruned = rows[0].bench, rows[1].bench
    fewer = (dense.nonzero_macs or dense.macs) / (pruned.nonzero_macs or pruned.macs)
    efficiency = (dense.latency_ms / pruned.latency_ms) / fewer
    return DemoReport(options.data, options.model, tuple(rows), _summed(agreements), efficiency, tuple(paths))


def _networks(result: PruneResult) -> list[tuple[str, str, NetworkFigures]]:
    """(name, file in the run directory, figures) of each network of the table."""
    networks = {"dense": result.dense, "pruned": result.finetuned, "thin": result.thin}
    return [(name, NETWORK_FILES[name], figures) for name, figures in networks.items() if figures is not None]


def _compared(artifact: Artifact, codes: NDArray[np.int8], checked: int) -> tuple[NDArray[np.int8], list[Agreement]]:
    """Output codes of the emulated board, and how every executor compares with ONNX Runtime."""
    where = f"{artifact.name}.ppr"
    few, batch = codes[:checked], artifact.program.batch
    (reference,) = run_codes(CpuExecutor(artifact), codes, batch)
    (answers,) = run_codes(open_executor(artifact, EMULATED, where), codes, batch)
    (interpreted,) = run_codes(open_executor(artifact, "interpreter", where), few, batch)
    (unoptimised,) = run_codes(CpuExecutor(artifact, optimise=False), few, batch)
    outputs = {
        "C++ engine on the emulated board": answers,
        "NumPy interpreter": interpreted,
        "ONNX Runtime without optimisation": unoptimised,
    }
    found = [
        Agreement(name, len(out), out.size, int((out != reference[: len(out)]).sum())) for name, out in outputs.items()
    ]
    return answers, found


def _summed(found: list[Agreement]) -> tuple[Agreement, ...]:
    """One entry for each executor, over all networks.

    Raises:
        GateError: a byte differs.
    """
    groups = {name: [a for a in found if a.executor == name] for name in dict.fromkeys(a.executor for a in found)}
    summed = tuple(
        Agreement(
            name,
            sum(a.images for a in group),
            sum(a.bytes_compared for a in group),
            sum(a.bytes_different for a in group),
        )
        for name, group in groups.items()
    )
    for agreement in summed:
        if agreement.bytes_different:
            raise GateError(
                f"{agreement.executor} and ONNX Runtime differ in {agreement.bytes_different} of "
                f"{agreement.bytes_compared} output bytes",
                where="demo",
                remedy="the fault is proprune's; on processors without VNNI, ONNX Runtime's int8 kernels may saturate",
            )
    return summed
