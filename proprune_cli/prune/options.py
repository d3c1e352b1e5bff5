"""What a pruning run is asked to do: frozen dataclasses whose fields are the options of the command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from proprune_cli.channels.residual import Residual
from proprune_cli.errors import UsageError
from proprune_cli.prune.method_names import METHOD_NAMES
from proprune_cli.spec.checks import require, require_choice
from proprune_cli.spec.declare import given
from proprune_cli.spec.handed import is_module
from proprune_cli.train.options import TrainOptions

BudgetKind = Literal["ratio", "ops", "params", "ms", "mj", "cost"]
Scope = Literal["layer", "global"]
PruneSchedule = Literal["one-shot", "iterative", "training"]
Start = Literal["dense", "fresh"]


PREDICTED = ("ms", "mj")
"""Kinds of budget that a model of a board counts; they may be absolute."""

WHOLE = 1 - 1e-9
"""A share from which on nothing has to go."""


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
    percent: bool = field(default=False, compare=False)
    """Written in percent, and spoken of so."""
    implied: bool = field(default=False, compare=False)
    """Nobody asked for it: the default."""
    dense: float | None = field(default=None, compare=False)
    """Figure of the dense network, where this is a share of it and was given in its unit."""

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
        return cls(kind.strip(), value / 100 if percent else value, absolute, percent)  # pyright: ignore[reportArgumentType]

    def of(self, dense: float) -> Budget:
        """This budget as a share of the dense network's figure ``dense``; one that is a share already as it is."""
        if not self.absolute:
            return self
        return Budget(self.kind, min(self.value / dense, WHOLE), dense=dense)

    @property
    def unit(self) -> str:
        """Unit of what was given: ms, mJ or %; empty for a fraction."""
        if self.absolute or self.dense is not None:
            return {"ms": "ms", "mj": "mJ"}[self.kind]
        return "%" if self.percent or self.kind in PREDICTED else ""

    @property
    def scale(self) -> float:
        """What turns ``value`` into ``unit``; for a share given in ms or mJ, the dense network's figure."""
        if self.absolute:
            return 1.0
        return self.dense if self.dense is not None else 100.0 if self.unit == "%" else 1.0

    def said(self, value: float | None = None) -> str:
        """A figure in terms of ``value`` (None: that itself) as the budget was written: ``ops=43.2%``, ``ms=3.2``."""
        text = f"{self.value * self.scale:g}" if value is None else f"{value * self.scale:.4g}"
        return f"{self.kind}={text}{'%' if self.unit == '%' else ''}"

    def __str__(self) -> str:
        if self.kind in PREDICTED and not self.absolute:
            return f"{self.kind}={100 * self.value:g}%"
        return f"{self.kind}={self.value:g}"


def _words(choices: object) -> str:
    first = get_args(choices)
    return ", ".join(first[:-1]) + f" or {first[-1]}"


@dataclass(frozen=True)
class PruneOptions:
    """Everything that decides the outcome of a pruning run."""

    model: str = given(
        "Zoo name, package.module:factory, or net.onnx; arguments follow '?'.", metavar="MODEL", offers="models"
    )
    data: str = given(
        "digits, fashion-mnist, …, an .npz, a folder, or package.module:factory; see docs/your-own.md.",
        metavar="NAME|PATH",
        offers="data",
    )
    data_dir: Path | None = given("Where the data set's files are.", None, metavar="DIR")
    weights: Path | None = given("Trained weights to start from (safetensors).", None, metavar="FILE")
    method: str = given(
        f"{', '.join(METHOD_NAMES)}; see docs/methods.md.", "l1", metavar="NAME[?KEY=VALUE&…]", offers="methods"
    )
    schedule: PruneSchedule | None = given(
        f"{_words(PruneSchedule)}: prune once and fine-tune, in rounds, or while training.",
        None,
        metavar="NAME",
        shown="the method's",
    )
    rounds: int | None = given("Rounds of the iterative schedule.", None, metavar="N", shown="3")
    start: Start | None = given(
        "Methods that act during training begin from dense (trained) or fresh weights.",
        None,
        metavar="NAME",
        shown="the method's",
    )
    binary: bool = given("With guided: weights of ±1 and a scale per output channel.", False)
    freeze: str = given(
        "neq: skip the gradients of neurons at equilibrium; stochastic: of random ones.",
        "none",
        metavar="NAME[?KEY=VALUE&…]",
    )
    distil: str = given(
        "dense: every network but the dense one learns from its outputs too, the thin one also.",
        "none",
        metavar="NAME[?KEY=VALUE&…]",
    )
    budget: Budget = given(
        "ops=50% or params=50% that remain, ratio=50% of the channels removed; predicted for --board: "
        "ms=3.5 or ms=40%, mj=6 or mj=40%.",
        factory=lambda: Budget(implied=True),
        metavar="KIND=AMOUNT",
        shown="ops=50%",
        offers="budgets",
    )
    objective: str | None = given(
        "What to learn widths for, in one training with the predicted cost in the loss: latency=0.8ms or latency=40%, "
        "energy=2mJ, ops=50%, latency*0.3 (a weight); several with commas. In place of --budget and --method.",
        None,
        metavar="GOAL",
    )
    reference: bool = given("With --objective: train the dense network too, for comparison.", False)
    board: str = given(
        "Board that ms and mj budgets and objectives count for.", "pynq-z2", metavar="NAME", offers="boards"
    )
    engine: bool = given("The run is to be compiled: refuse before training what the compiler does not take.", True)
    array: str | None = given("Array on that board.", None, metavar="NAME", shown="the board's own", offers="arrays")
    scope: Scope = given(
        "layer: every group gives up the same share; global: one threshold on normalised importance.",
        "layer",
        metavar="NAME",
    )
    residual: Residual | None = given(
        "coupled: channels that meet in an addition go together; free: every branch drops its own.",
        None,
        metavar="NAME",
        shown="coupled; free with an objective",
    )
    multiple: int = given("Keep multiples of N channels.", 8, metavar="N")
    min_keep: float = given("No group keeps less than this share of its channels.", 0.1, metavar="SHARE")
    exclude: tuple[str, ...] = given(
        "Leave this module's output channels alone; may be repeated.", (), metavar="MODULE"
    )
    epochs: int | None = given("Epochs of dense training.", None, metavar="N", shown="10")
    """None: 10, or 0 where trained weights are given or the model is an ONNX file or a module that was handed over."""
    finetune_epochs: int | None = given("Of fine-tuning.", None, metavar="N", shown="as --epochs")
    """None: as many as ``epochs``, or 10 where that is 0."""
    thin: bool = given("Train a thin baseline too, of the same operations and as many epochs in all.", True)
    train: TrainOptions = field(default_factory=TrainOptions)
    seed: int = given("Seed of everything random.", 0, metavar="N")
    validation: float = given("Share of the training images held out for validation.", 0.1, metavar="SHARE")
    calibration: int = given("Training images put aside for quantisation.", 500, metavar="N")
    test_images: int = given("Test images stored with the run; 0: none.", 1000, metavar="N")

    def __post_init__(self) -> None:
        require_choice(self.scope, Scope, "--scope")
        if self.schedule is not None:
            require_choice(self.schedule, PruneSchedule, "--schedule")
        if self.start is not None:
            require_choice(self.start, Start, "--start")
        require(self.rounds is None or self.rounds >= 1, f"{self.rounds} rounds", "--rounds", "give 1 or more")
        if self.residual is not None:
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
    def streams(self) -> Residual:
        """How channels that meet in an addition are pruned: an objective may take whole branches away."""
        return self.residual or ("coupled" if self.objective is None else "free")

    @property
    def dense_epochs(self) -> int:
        """Epochs of dense training that will run."""
        if self.epochs is not None:
            return self.epochs
        return 0 if self.comes_trained else 10

    @property
    def comes_trained(self) -> bool:
        """Weights are given, or a model that has some."""
        return self.weights is not None or self.model.partition("?")[0].endswith(".onnx") or is_module(self.model)

    @property
    def tuning_epochs(self) -> int:
        """Epochs of fine-tuning that will run."""
        return self.finetune_epochs if self.finetune_epochs is not None else (self.dense_epochs or 10)

    def to_json(self) -> dict[str, Any]:
        """The options as plain JSON values, the form a run directory records and compares."""
        document = dataclasses.asdict(self)
        document["budget"] = str(self.budget)
        document["exclude"] = list(self.exclude)
        document["residual"] = self.streams
        for name in ("objective", "reference"):
            if not document[name]:
                del document[name]  # as in runs of before there were objectives
        if document["distil"] == "none":
            del document["distil"]
        for name in ("data_dir", "weights"):
            path: Path | None = getattr(self, name)
            document[name] = None if path is None else str(path)
        return document
