"""What a pruning run is asked to do: frozen dataclasses whose fields are the options of the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from proprune_cli.channels.residual import Residual
from proprune_cli.errors import UsageError
from proprune_cli.spec.checks import require, require_choice
from proprune_cli.train.options import TrainOptions

BudgetKind = Literal["ratio", "ops", "params", "ms", "mj", "cost"]
Scope = Literal["layer", "global"]
PruneSchedule = Literal["one-shot", "iterative", "training"]
Start = Literal["dense", "fresh"]


PREDICTED = ("ms", "mj")
"""Kinds of budget that a model of a board counts; they may be absolute."""


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
        require_choice(self.kind, BudgetKind, "--budget")
        if self.absolute:
            require(
                self.kind in PREDICTED,
                f"a budget of {self.kind} is a share",
                "--budget",
                "give a fraction, for example ops=0.5",
            )
            require(
                math.isfinite(self.value) and self.value > 0,
                f"a budget of {self.value:g} is not above 0",
                "--budget",
                "give what may remain, for example ms=3.5, or a share such as ms=40%",
            )
            return
        require(
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
        require_choice(kind.strip(), BudgetKind, "--budget")
        percent = number.endswith("%")
        absolute = kind.strip() in PREDICTED and not percent
        return cls(kind.strip(), value / 100 if percent else value, absolute)  # pyright: ignore[reportArgumentType]

    def __str__(self) -> str:
        if self.kind in PREDICTED and not self.absolute:
            return f"{self.kind}={100 * self.value:g}%"
        return f"{self.kind}={self.value:g}"


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
        require_choice(self.scope, Scope, "--scope")
        if self.schedule is not None:
            require_choice(self.schedule, PruneSchedule, "--schedule")
        if self.start is not None:
            require_choice(self.start, Start, "--start")
        require(self.rounds is None or self.rounds >= 1, f"{self.rounds} rounds", "--rounds", "give 1 or more")
        require_choice(self.residual, Residual, "--residual")
        require(bool(self.model), "no model is named", "--model", "give a zoo name, package.module:factory or net.onnx")
        require(bool(self.data), "no data set is named", "--data", "give a data set's name or a path")
        require(self.multiple >= 1, f"a multiple of {self.multiple} channels", "--multiple", "give 1 or more")
        require(0 <= self.min_keep < 1, "min-keep is outside 0 to 1", "--min-keep", "give a share such as 0.1")
        require(
            0 < self.validation < 0.9,
            f"a validation share of {self.validation:g}",
            "--validation",
            "give a share between 0 and 0.9, such as 0.1",
        )
        for option, count in (("--epochs", self.epochs), ("--finetune-epochs", self.finetune_epochs)):
            require(count is None or count >= 0, f"{count} epochs", option, "give 0 or more")
        require(1 <= self.calibration <= 500, "calibration images", "--calibration", "give 1 to 500")
        require(self.test_images >= 0, "a negative number of test images", "--test-images", "give 0 or more")
        require(0 <= self.seed < 2**31, f"seed {self.seed} is out of range", "--seed", "give 0 to 2147483647")

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
