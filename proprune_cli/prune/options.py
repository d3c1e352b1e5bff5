"""What a pruning run is asked to do: frozen dataclasses whose fields are the options of the command line."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from proprune_cli.errors import UsageError

BudgetKind = Literal["ratio", "ops", "params", "ms", "mj", "cost"]
Scope = Literal["layer", "global"]
Residual = Literal["coupled", "free"]
Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["onecycle", "cosine", "constant"]
PruneSchedule = Literal["one-shot", "iterative", "training"]
Start = Literal["dense", "fresh"]
Augment = Literal["auto", "none", "crop", "crop+flip"]


PREDICTED = ("ms", "mj")
"""Kinds of budget that a model of a board counts; they may be absolute."""


def _choice(value: str, allowed: object, option: str) -> None:
    names = get_args(allowed)
    if value not in names:
        raise UsageError(f"{value!r} is not a choice", where=option, remedy="choose one of " + ", ".join(names))


def checked_residual(value: str) -> Residual:
    """``coupled`` or ``free``.

    Raises:
        UsageError: it is something else.
    """
    _choice(value, Residual, "--residual")
    return "free" if value == "free" else "coupled"


def _require(condition: bool, what: str, option: str, remedy: str) -> None:
    if not condition:
        raise UsageError(what, where=option, remedy=remedy)


@dataclass(frozen=True)
class Budget:
    """How far to prune.

    ``ratio``: the fraction of prunable channels to *remove*. ``ops``, ``params``, ``ms``, ``mj`` and ``cost``: the
    fraction of the dense network's multiply-accumulates, parameters, predicted milliseconds, predicted millijoules, or
    cost-model figure that may *remain*; or, where ``absolute``, the predicted milliseconds or millijoules themselves.
    """

    kind: BudgetKind = "ops"
    value: float = 0.5
    absolute: bool = False

    def __post_init__(self) -> None:
        _choice(self.kind, BudgetKind, "--budget")
        if self.absolute:
            _require(
                self.kind in PREDICTED,
                f"a budget of {self.kind} is a share",
                "--budget",
                "give a fraction, for example ops=0.5",
            )
            _require(
                math.isfinite(self.value) and self.value > 0,
                f"a budget of {self.value:g} is not above 0",
                "--budget",
                "give what may remain, for example ms=3.5, or a share such as ms=40%",
            )
            return
        _require(
            math.isfinite(self.value) and 0.0 < self.value < 1.0,
            f"a budget of {self.value:g} is outside 0 to 1",
            "--budget",
            "give a fraction, for example ops=0.5",
        )

    @classmethod
    def parse(cls, text: str) -> Budget:
        """``"ops=0.5"`` or ``"ops=50%"`` → ``Budget("ops", 0.5)``; ``"ms=3.5"`` is absolute, ``"ms=40%"`` a share.

        Raises:
            UsageError: the text is not ``kind=fraction``.
        """
        kind, separator, number = text.partition("=")
        remedy = "write kind=fraction, for example ops=0.5; the kinds are " + ", ".join(get_args(BudgetKind))
        if not separator:
            raise UsageError(f"the budget {text!r} has no '='", where="--budget", remedy=remedy)
        try:
            value = float(number.removesuffix("%"))
        except ValueError:
            raise UsageError(f"{number!r} is not a number", where="--budget", remedy=remedy) from None
        _choice(kind.strip(), BudgetKind, "--budget")
        percent = number.endswith("%")
        absolute = kind.strip() in PREDICTED and not percent
        return cls(kind.strip(), value / 100 if percent else value, absolute)  # pyright: ignore[reportArgumentType]

    def __str__(self) -> str:
        if self.kind in PREDICTED and not self.absolute:
            return f"{self.kind}={100 * self.value:g}%"
        return f"{self.kind}={self.value:g}"


@dataclass(frozen=True)
class TrainOptions:
    """One way to train, shared by the dense, the fine-tuned and the thin network."""

    batch: int = 128
    optimiser: Optimiser = "sgd"
    lr: float | None = None
    """Peak learning rate; None: SGD 0.1 for a network with batch norm and 0.02 without, AdamW 0.002."""
    finetune_lr: float | None = None
    """Peak learning rate of fine-tuning; None: half of ``lr``."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "onecycle"
    label_smoothing: float = 0.0
    loss: str | None = None
    """``package.module:name?key=value``: a function of outputs and targets, or what gives one; None: cross-entropy."""
    metric: str | None = None
    """As ``loss``: one number, or one per image, usually from 0 to 1, larger is better; None: accuracy."""
    augment: Augment = "auto"
    """``auto``: pad-and-crop, and flips where the data set's objects have no handedness; with targets other than
    classes of images or of their pixels, nothing."""
    threads: int = 2
    device: str = "cpu"
    """Where networks are trained and measured: ``cpu``, ``cuda``, ``cuda:1``."""

    def __post_init__(self) -> None:
        _choice(self.optimiser, Optimiser, "--optimiser")
        _choice(self.schedule, Schedule, "--schedule")
        _choice(self.augment, Augment, "--augment")
        _require(self.batch >= 2, f"a batch of {self.batch} is too small", "--batch", "give 2 or more")
        _require(
            re.fullmatch(r"cpu|cuda(:\d+)?", self.device) is not None,
            f"{self.device!r} is not a device",
            "--device",
            "give cpu, cuda or cuda:1",
        )
        _require(self.threads >= 1, f"{self.threads} threads cannot compute", "--threads", "give 1 or more")
        for option, rate in (("--lr", self.lr), ("--finetune-lr", self.finetune_lr)):
            _require(
                rate is None or (math.isfinite(rate) and rate > 0),
                f"a learning rate of {rate} cannot train",
                option,
                "give a positive number, or leave it out",
            )
        _require(
            0 <= self.label_smoothing < 1,
            f"label smoothing {self.label_smoothing:g} is outside 0 to 1",
            "--label-smoothing",
            "give a number such as 0.1",
        )
        _require(
            self.label_smoothing == 0 or self.loss is None,
            "label smoothing is part of cross-entropy",
            "--label-smoothing",
            "let your own loss smooth the labels",
        )
        for option, spec in (("--loss", self.loss), ("--metric", self.metric)):
            _require(
                spec is None or ":" in spec,
                f"{spec!r} is no import path",
                option,
                "write package.module:name, for example torch.nn:SmoothL1Loss",
            )
        _require(self.weight_decay >= 0, "weight decay is negative", "--weight-decay", "give 0 or more")
        _require(0 <= self.momentum < 1, "momentum is outside 0 to 1", "--momentum", "give a number such as 0.9")


@dataclass(frozen=True)
class PruneOptions:
    """Everything that decides the outcome of a pruning run."""

    model: str
    """``resnet20?width=0.5``, ``package.module:factory?depth=20`` or ``net.onnx``."""
    data: str
    """``digits``, ``fashion-mnist``, ``mnist``, ``cifar10``, ``cifar100``, ``svhn``, an ``.npz`` file or a folder; each
    may carry ``?size=32``."""
    data_dir: Path | None = None
    weights: Path | None = None
    """Trained weights (safetensors) to start from."""
    method: str = "l1"
    """``l1``, ``lobster?lam=1e-4``: a name of docs/methods.md, with its options."""
    schedule: PruneSchedule | None = None
    """``one-shot``: prune, then fine-tune; ``iterative``: in rounds; ``training``: while training. None: the
    method's own."""
    rounds: int | None = None
    """Rounds of the iterative schedule; None: 3."""
    start: Start | None = None
    """Methods that act during training begin from the trained ``dense`` network, or from ``fresh`` weights with the
    epochs of both phases. None: the method's own."""
    binary: bool = False
    """Weights of ±1 and a scale per output channel (BinaryConnect), together with ``guided``."""
    freeze: str = "none"
    """``neq``: while fine-tuning, leave neurons at equilibrium alone; ``neq?eps=1e-3&mu=0.5``."""
    budget: Budget = field(default_factory=Budget)
    board: str = "pynq-z2"
    """Board whose predicted milliseconds or millijoules a budget counts."""
    array: str | None = None
    """Array on that board; None: the board's own."""
    scope: Scope = "layer"
    """``layer``: every group gives up the same share; ``global``: one threshold on normalised importance."""
    multiple: int = 8
    """Kept channels per group are a multiple of this, the array's channel group."""
    min_keep: float = 0.1
    """No group keeps less than this share of its channels."""
    residual: Residual = "coupled"
    """``coupled``: branches that meet in an addition lose the same channels; ``free``: each loses its own."""
    exclude: tuple[str, ...] = ()
    """Modules whose output channels stay, by name or by the prefix of a name."""
    epochs: int | None = None
    """Dense training; None: 10, or 0 where trained weights are given or the model is an ONNX file."""
    finetune_epochs: int | None = None
    """None: as many as ``epochs``, or 10 where that is 0."""
    thin: bool = True
    """Also train a plain narrower network of the same budget, for as many epochs in all."""
    train: TrainOptions = field(default_factory=TrainOptions)
    seed: int = 0
    validation: float = 0.1
    """Share of the training images held out for validation."""
    calibration: int = 500
    """Training images put aside for quantisation."""
    test_images: int = 1000
    """Test images stored with the run; 0: none."""

    def __post_init__(self) -> None:
        _choice(self.scope, Scope, "--scope")
        if self.schedule is not None:
            _choice(self.schedule, PruneSchedule, "--schedule")
        if self.start is not None:
            _choice(self.start, Start, "--start")
        _require(self.rounds is None or self.rounds >= 1, f"{self.rounds} rounds", "--rounds", "give 1 or more")
        _choice(self.residual, Residual, "--residual")
        _require(
            bool(self.model), "no model is named", "--model", "give a zoo name, package.module:factory or net.onnx"
        )
        _require(bool(self.data), "no data set is named", "--data", "give a data set's name or a path")
        _require(self.multiple >= 1, f"a multiple of {self.multiple} channels", "--multiple", "give 1 or more")
        _require(0 <= self.min_keep < 1, "min-keep is outside 0 to 1", "--min-keep", "give a share such as 0.1")
        _require(
            0 < self.validation < 0.9,
            f"a validation share of {self.validation:g}",
            "--validation",
            "give a share between 0 and 0.9, such as 0.1",
        )
        for option, count in (("--epochs", self.epochs), ("--finetune-epochs", self.finetune_epochs)):
            _require(count is None or count >= 0, f"{count} epochs", option, "give 0 or more")
        _require(1 <= self.calibration <= 500, "calibration images", "--calibration", "give 1 to 500")
        _require(self.test_images >= 0, "a negative number of test images", "--test-images", "give 0 or more")
        _require(0 <= self.seed < 2**31, f"seed {self.seed} is out of range", "--seed", "give 0 to 2147483647")

    @property
    def dense_epochs(self) -> int:
        """Epochs of dense training that will run."""
        if self.epochs is not None:
            return self.epochs
        return 0 if self.weights is not None or self.model.partition("?")[0].endswith(".onnx") else 10

    @property
    def tuning_epochs(self) -> int:
        """Epochs of fine-tuning that will run."""
        return self.finetune_epochs if self.finetune_epochs is not None else (self.dense_epochs or 10)

    def to_json(self) -> dict[str, Any]:
        """The options as plain JSON values, the form a run directory records and compares."""
        document = dataclasses.asdict(self)
        document["budget"] = str(self.budget)
        document["exclude"] = list(self.exclude)
        for name in ("data_dir", "weights"):
            path: Path | None = getattr(self, name)
            document[name] = None if path is None else str(path)
        return document
