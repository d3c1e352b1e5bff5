"""What tests of training share: a small network, and a training of it that keeps its files in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from proprune_cli.nets.models import build_model
from proprune_cli.train.hooks import TrainHook
from proprune_cli.train.loop import train
from proprune_cli.train.options import TrainOptions
from proprune_cli.train.progress import SilentProgress
from proprune_cli.train.task import Task


class Memory:
    """A stage that keeps its files in a dictionary."""

    done = False

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def commit(self) -> None: ...


def lenet(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model("lenet5?widths=6,8,16", 1, 10, 16)


def run_epochs(model: nn.Module, task: Task, hooks: Sequence[TrainHook], epochs: int = 1, **options: Any) -> None:
    given = TrainOptions(**{"batch": 128, "threads": 1, "augment": "none", **options})
    train(model, task, given, epochs=epochs, peak=0.05, seed=0, label="test", stage=Memory(),
          progress=SilentProgress(), hooks=hooks)  # fmt: skip
