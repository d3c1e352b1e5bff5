"""One point of an exploration: an ordinary pruning run beside others, and a record of what became of it.

    DIR/points/NAME/       the run directory
    DIR/points/NAME.json   its record: figures of its networks on every board, what its trainings cost, or why it failed

It may be made in another process, or on another machine that sees the same files.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from proprune_cli.accel.boards import board_with_array
from proprune_cli.accel.energy import MODEL as ENERGY_MODEL
from proprune_cli.accel.timing import MODEL as TIMING_MODEL
from proprune_cli.artifact import Artifact
from proprune_cli.board.cpu import CpuExecutor
from proprune_cli.compile.options import CompileOptions
from proprune_cli.config import called_options
from proprune_cli.errors import InputError, ProPruneError
from proprune_cli.files.arrays import read_npz
from proprune_cli.files.json_text import parse_object
from proprune_cli.files.limits import JSON_BYTES
from proprune_cli.files.read import read_file
from proprune_cli.files.write import write_whole
from proprune_cli.flow.build import CALIBRATION, build
from proprune_cli.flow.execute import run_codes
from proprune_cli.flow.prune import missed, prune
from proprune_cli.flow.training_costs import trainings
from proprune_cli.measure.predicted import predict
from proprune_cli.prune.options import Budget, PruneOptions
from proprune_cli.prune.result import NETWORK_FILES, NetworkFigures
from proprune_cli.rundir import content_key
from proprune_cli.spec.declare import declared
from proprune_cli.train.options import TrainOptions

RECORD_VERSION = 1
DENSE = "dense"
"""Name of the dense network, among points."""
OWN_KEYS = "keys.yaml"
"""Run file, in the exploration's directory, with options that the command line has no flag for."""


@dataclass(frozen=True)
class Target:
    """What networks are compiled and predicted for."""

    board: str
    array: str


@dataclass(frozen=True)
class Point:
    """One pruning run.

    Attributes:
        budget: as ``--budget`` takes it; empty where the method takes none. board, array: that a budget of ms or mJ
            counts for; else None. thin: whether a thin network is trained beside it.
    """

    method: str
    budget: str
    board: str | None = None
    array: str | None = None
    thin: bool = True

    @property
    def name(self) -> str:
        """Name of its directory; of different points, different ones."""
        words = [self.method, self.budget.replace("=", "-"), self.array and f"{self.board}-{self.array}"]
        text = "-".join(word for word in words if word)
        plain = re.sub(r"[^A-Za-z0-9.-]+", "_", text)
        # Letters that a file's name may not have, and names that a file system may take for another.
        return plain if plain == text else f"{plain[:60]}-{content_key(text)[:6]}"

    def options(self, base: PruneOptions) -> PruneOptions:
        """The options of its run, with everything that it does not say itself from ``base``."""
        options = replace(base, method=self.method, thin=base.thin and self.thin)
        if self.budget:
            options = replace(options, budget=Budget.parse(self.budget))
        return options if self.board is None else replace(options, board=self.board, array=self.array)


def command_line(options: PruneOptions, run: Path, keys: Path) -> str:
    """The command that makes the run by itself.

    Args:
        keys: run file with what has no flag, as `own_keys` gives it; named where there is any.
    """
    words = ["proprune", "prune"]
    if own_keys(options):
        words += ["--config", str(keys)]
    for section in (options, options.train):
        defaults = {f.name: f for f in fields(section)}
        for option in declared(type(section)):
            value = getattr(section, option.name)
            # What makes it this point is said even where it is the default.
            told = option.name in ("method", "budget") or value != _default(defaults[option.name])
            if option.flag is None or value is None or not told:
                continue
            if isinstance(value, bool):
                words.append(option.flag if value else f"--no-{option.flag.removeprefix('--')}")
                continue
            for one in cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,):
                words += [option.flag, str(one)]
    return shlex.join([*words, "--out", str(run)])


def own_keys(options: PruneOptions) -> bytes | None:
    """A run file with those options that have no flag and are not the default; None where there are none."""
    train = {
        option.name: getattr(options.train, option.name)
        for option in declared(TrainOptions)
        if option.flag is None and getattr(options.train, option.name) != getattr(TrainOptions(), option.name)
    }
    return yaml.safe_dump({"version": 1, "prune": {"train": train}}).encode() if train else None


def _default(field: Any) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


def record_key(options: dict[str, Any] | None, targets: Sequence[Target]) -> str:
    """What decides the content of a record: the run's options (None: the dense network), targets and models."""
    return content_key(
        [RECORD_VERSION, options, [asdict(target) for target in targets], f"{TIMING_MODEL}, {ENERGY_MODEL}"]
    )


def record_of_point(out: Path, name: str, key: str | None = None) -> dict[str, Any] | None:
    """The record of a point; None where there is none, a damaged one, or one that was made for another ``key``."""
    try:
        record = parse_object(read_file(out / "points" / f"{name}.json", JSON_BYTES))
    except (OSError, ValueError):
        return None
    seal = record.pop("seal", None)
    fits = record.get("version") == RECORD_VERSION and (key is None or record.get("key") == key)
    # Sealed, so that a record that somebody changed is made again and read by nobody.
    return record if fits and seal == content_key(record) else None


def make_point(out: Path, name: str, asked: dict[str, Any], targets: Sequence[Target]) -> None:
    """Prune, compile and predict, and leave a record; what a user can meet is in the record too, as a failure.

    Args:
        out: directory of the exploration, whose dense training is borrowed. asked: options of `prune`, JSON values.

    Raises:
        InputError: the directory is not to be seen from here.
    """
    if not (out / "run.json").is_file():
        raise InputError(
            "the exploration's directory is not to be seen from this machine",
            where=str(out),
            remedy="give a directory that all machines share, by its absolute path",
        )
    options, run = called_options(asked), out / "points" / name
    record = _begun(name, record_key(asked, targets), command_line(options, run, out / OWN_KEYS))
    try:
        result, check = prune(options, run, lender=out)
        over = missed(options, run, result, check)
        record["missed"] = None if over is None else over.what
        record["metric"] = result.metric
        record["notes"] = list(result.notes)
        for network, figures in (("pruned", result.finetuned), ("thin", result.thin)):
            if figures is not None:
                record["networks"][network] = _figures(run, network, figures, targets, result.metric)
    except ProPruneError as error:
        where = type(error).__name__
        record["failed"] = {"kind": where, "what": error.what, "where": error.where, "remedy": error.remedy}
        record["networks"] = {}
    record["trainings"] = trainings(run)
    _write(out, name, record)


def make_dense(out: Path, figures: NetworkFigures, metric: str, targets: Sequence[Target]) -> None:
    """The record of the dense network.

    Raises:
        ProPruneError: it does not compile for a target.
    """
    record = _begun(DENSE, record_key(None, targets), "")
    record["metric"] = metric
    record["networks"][DENSE] = _figures(out, DENSE, figures, targets, metric)
    record["trainings"] = trainings(out)
    _write(out, DENSE, record)


def _begun(name: str, key: str, command: str) -> dict[str, Any]:
    return {
        "version": RECORD_VERSION,
        "kind": "explored-point",
        "key": key,
        "name": name,
        "command": command,
        "failed": None,
        "missed": None,
        "notes": [],
        "networks": {},
        "trainings": [],
    }


def _write(out: Path, name: str, record: dict[str, Any]) -> None:
    write_whole(out / "points" / f"{name}.json", sealed(record))


def sealed(record: dict[str, Any]) -> bytes:
    """A record as it is kept."""
    plain = json.loads(json.dumps(record))
    return (json.dumps({**plain, "seal": content_key(plain)}, indent=1) + "\n").encode()


def _figures(
    run: Path, network: str, figures: NetworkFigures, targets: Sequence[Target], metric: str
) -> dict[str, Any]:
    """Accuracy of a network, and its predicted figures on every target.

    Raises:
        ProPruneError: as `build`; says which network it is.
    """
    boards: list[dict[str, Any]] = []
    int8: dict[str, Any] | None = None
    for position, target in enumerate(targets):
        file = run / NETWORK_FILES[network]
        options = CompileOptions(target.board, target.array, calibration=str(run / CALIBRATION))
        try:
            artifact = build(file, options)
        except ProPruneError as error:
            where = f"{network} network on {target.board} with {target.array}"
            error.where = f"{where}: {error.where}" if error.where else where
            raise
        board, array = board_with_array(target.board, target.array)
        boards.append(predict(artifact, f"{run} {network}", board, array).to_json())
        if not position and metric == "accuracy":
            int8 = _int8(artifact, run / "test.npz")
    return {
        "accuracy": figures.test_accuracy,
        "validation_accuracy": figures.validation_accuracy,
        "params": figures.params,
        "int8": int8,
        "boards": boards,
    }


def _int8(artifact: Artifact, images: Path) -> dict[str, Any] | None:
    """Accuracy by the integers of the engine, which ONNX Runtime computes too, on the run's stored test images.

    None where no classes can be compared.
    """
    if not images.is_file() or len(artifact.program.outputs) != 1 or artifact.host:
        return None
    stored = read_npz(images)
    pictures, labels = stored["images"], stored["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        return None
    (codes,) = run_codes(CpuExecutor(artifact), artifact.program.codes(pictures), artifact.program.batch)
    right = codes.reshape(len(codes), -1).argmax(axis=1) == labels
    return {"accuracy": 100.0 * float(np.mean(right)), "images": len(labels)}
