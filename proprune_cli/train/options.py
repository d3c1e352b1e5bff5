"""How networks are trained: a frozen dataclass whose fields are options of the command line and keys of run files."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from proprune_cli.data.augment import Augment
from proprune_cli.spec.checks import require, require_choice
from proprune_cli.spec.declare import given, key

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["onecycle", "cosine", "constant"]


@dataclass(frozen=True)
class TrainOptions:
    """One way to train, shared by the dense, the fine-tuned and the thin network."""

    batch: int = given("Batch size.", 128, metavar="N")
    optimiser: Optimiser = given("sgd, with Nesterov momentum, or adamw.", "sgd", metavar="NAME")
    lr: float | None = given(
        "Peak learning rate.", None, metavar="RATE", shown="0.1 with batch norms, 0.02 without; adamw 0.002"
    )
    finetune_lr: float | None = given("Of fine-tuning.", None, metavar="RATE", shown="half of --lr")
    momentum: float = key("Of sgd.", 0.9)
    weight_decay: float = key("Of weights; norms and biases are not decayed.", 5e-4)
    schedule: Schedule = key(
        "Course of the learning rate: onecycle (a linear rise, then a cosine to 0), cosine, constant.",
        "onecycle",
    )
    label_smoothing: float = key("Of cross-entropy.", 0.0)
    loss: str | None = given("package.module:name of outputs and targets.", None, metavar="LOSS", shown="cross-entropy")
    """``package.module:name?key=value``: a function of outputs and targets, or what gives one."""
    metric: str | None = given("As --loss; larger is better.", None, metavar="METRIC", shown="accuracy")
    """One number, or one per image, usually from 0 to 1."""
    augment: Augment = given(
        "auto (what suits a built-in data set; else none), none, crop or crop+flip of training images.",
        "auto",
        metavar="NAME",
    )
    """``auto``: pad-and-crop for the built-in data sets, and flips where their objects have no handedness; for a user's
    own data, which may be no photographs, nothing."""
    threads: int = given("Threads of the CPU.", 2, metavar="N")
    device: str = given("Train on cpu, cuda or cuda:1.", "cpu", metavar="NAME")

    def __post_init__(self) -> None:
        require_choice(self.optimiser, Optimiser, "--optimiser")
        require_choice(self.schedule, Schedule, "train.schedule")
        require_choice(self.augment, Augment, "--augment")
        require(self.batch >= 2, f"a batch of {self.batch} is too small", "--batch", "give 2 or more")
        require(
            re.fullmatch(r"cpu|cuda(:\d+)?", self.device) is not None,
            f"{self.device!r} is not a device",
            "--device",
            "give cpu, cuda or cuda:1",
        )
        require(self.threads >= 1, f"{self.threads} threads cannot compute", "--threads", "give 1 or more")
        for option, rate in (("--lr", self.lr), ("--finetune-lr", self.finetune_lr)):
            require(
                rate is None or (math.isfinite(rate) and rate > 0),
                f"a learning rate of {rate} cannot train",
                option,
                "give a positive number, or leave it out",
            )
        require(
            0 <= self.label_smoothing < 1,
            f"label smoothing {self.label_smoothing:g} is outside 0 to 1",
            "train.label_smoothing",
            "give a number such as 0.1",
        )
        require(
            self.label_smoothing == 0 or self.loss is None,
            "label smoothing is part of cross-entropy",
            "train.label_smoothing",
            "let your own loss smooth the labels",
        )
        for option, spec in (("--loss", self.loss), ("--metric", self.metric)):
            require(
                spec is None or ":" in spec,
                f"{spec!r} is no import path",
                option,
                "write package.module:name, for example torch.nn:SmoothL1Loss",
            )
        require(self.weight_decay >= 0, "weight decay is negative", "train.weight_decay", "give 0 or more")
        require(0 <= self.momentum < 1, "momentum is outside 0 to 1", "train.momentum", "give a number such as 0.9")
