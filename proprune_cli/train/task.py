"""What a network is trained for: data, the loss of its outputs, and the score that people read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import nn

from proprune_cli.data.dataset import NOT_COUNTED, Dataset
from proprune_cli.errors import InputError, UsageError
from proprune_cli.modules.copying import copied
from proprune_cli.modules.outputs import shapes_of, tensors_of
from proprune_cli.spec.factories import CALL_ERRORS, function_of
from proprune_cli.spec.parse import parse_spec
from proprune_cli.train.device import on_device
from proprune_cli.train.options import TrainOptions

Function = Callable[[Any, torch.Tensor], Any]
"""Outputs as the network gives them, and targets [B, …]."""


@dataclass(frozen=True)
class Task:
    """Data, and the loss and score of outputs against their targets; where the user named neither, cross-entropy and
    accuracy.
    """

    data: Dataset
    metric: str = "accuracy"
    """Name of the score, for people."""
    own_loss: Function | None = None
    own_metric: Function | None = None
    spelled: tuple[str, str] = ("", "")
    """What ``--loss`` and ``--metric`` said, for messages."""

    def loss(self, outputs: Any, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Mean over the batch, [] with its graph.

        Raises:
            InputError: the user's loss fails on these outputs, or gives something else than one number.
        """
        if self.own_loss is None:
            return nnf.cross_entropy(outputs, targets, label_smoothing=smoothing)
        found = _called(self.own_loss, outputs, targets, f"--loss {self.spelled[0]}")
        if not isinstance(found, torch.Tensor) or found.numel() != 1:
            gives = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise InputError(
                f"the loss gives {gives}, not one number",
                where=f"--loss {self.spelled[0]}",
                remedy="return the mean over the batch as a tensor",
            )
        return found.reshape(())

    def total_score(self, outputs: Any, targets: torch.Tensor) -> float:
        """Sum over the images of a batch of their scores, each usually from 0 to 1; larger is better.

        Raises:
            InputError: the user's metric fails on these outputs, or gives something else than numbers.
        """
        count = len(targets)
        if self.own_metric is None:
            right = outputs.argmax(dim=1) == targets
            if targets.ndim == 1:
                return float(right.sum())
            counted = (targets != NOT_COUNTED).flatten(1)
            shares = (right.flatten(1) & counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1)
            return float(shares.double().sum())
        where = f"--metric {self.spelled[1]}"
        given = _called(self.own_metric, outputs, targets, where)
        remedy = "return one finite number, or one for each image; usually from 0 to 1, larger is better"
        if not isinstance(given, (torch.Tensor, np.ndarray, np.number, float, int)):
            raise InputError(f"the metric gives {type(given).__name__}", where=where, remedy=remedy)
        found = torch.as_tensor(given).detach().double()
        total = float(found.mean()) * count if found.numel() else math.nan
        if not math.isfinite(total) or (found.ndim and len(found) != count):
            raise InputError(
                f"the metric gives {found.flatten()[:4].tolist()} of shape {list(found.shape)} for {count} images",
                where=where,
                remedy=remedy,
            )
        return total


def task_for(
    data: Dataset, options: TrainOptions, own_loss: Function | None = None, own_metric: Function | None = None
) -> Task:
    """To learn ``data`` with the loss and the metric that ``options`` name, or with the functions themselves.

    Raises:
        InputError: one cannot be imported, or its arguments do not fit.
        UsageError: the targets ask for a loss or a metric of the user's.
    """
    if data.targets == "values":
        for option, spec in (("--loss", options.loss), ("--metric", options.metric)):
            if spec is None:
                raise UsageError(
                    f"the targets are numbers, which have no {'cross-entropy' if option == '--loss' else 'accuracy'}",
                    where=f"--data {data.name}",
                    remedy=f"name a function of outputs and targets with {option} package.module:name; "
                    "store classes as whole numbers",
                )
    loss, metric = options.loss, options.metric
    device = torch.device(options.device)
    name = "accuracy" if metric is None else parse_spec(metric, "--metric").name.rpartition(":")[2].rpartition(".")[2]
    return Task(
        data,
        metric=name,
        own_loss=_own("--loss", loss, device, own_loss),
        own_metric=_own("--metric", metric, device, own_metric),
        spelled=(loss or "", metric or ""),
    )


def try_task(model: nn.Module, task: Task, device: torch.device) -> None:
    """Ask for loss and score of two images, before hours are spent on them; the network is left in eval mode.

    Args:
        device: where the network will be trained; the user's loss is there already.

    Raises:
        InputError: they cannot be had.
    """
    data = task.data
    part = data.train.take(np.arange(min(2, len(data.train))))
    images, targets = (torch.from_numpy(a).to(device) for a in (data.normalise(part.images), part.labels))
    with torch.no_grad(), on_device(model, device):
        outputs = model.eval()(images)
    named = task.own_loss is not None, task.own_metric is not None
    if not all(named):
        # Cross-entropy and accuracy want one tensor of logits, a column of them for each target.
        tensors = tensors_of(outputs)
        if len(tensors) != 1 or tensors[0].shape[:1] + tensors[0].shape[2:] != targets.shape:
            option = "--metric" if named[0] else "--loss"
            raise InputError(
                f"the network gives {shapes_of(tensors)} for targets {list(targets.shape)}",
                where="--model",
                remedy=f"give logits [batch, classes{', rows, columns' if targets.ndim > 1 else ''}], or a function of "
                f"outputs and targets with {option} package.module:name",
            )
    task.loss(outputs, targets)
    task.total_score(outputs, targets)


def _own(option: str, spec: str | None, device: torch.device, given: Function | None) -> Function | None:
    """The function of the user, ``given`` or named as ``package.module:name?key=value``; None where there is neither.

    Raises:
        InputError: it cannot be imported, its arguments do not fit, or it has parameters that would have to learn.
    """
    if spec is None:
        return None
    function = given or function_of(parse_spec(spec, option), f"{option} {spec}", option.strip("-"))
    if isinstance(function, nn.Module):
        function = (function if given is None else copied(function)).to(device).eval()
        if any(p.requires_grad for p in function.parameters()):
            raise InputError(
                f"the {option.strip('-')} has parameters that would have to learn",
                where=f"{option} {spec}",
                remedy="put them into the network, or make them buffers",
            )
    return function


def _called(function: Function, outputs: Any, targets: torch.Tensor, where: str) -> Any:
    try:
        return function(outputs, targets)
    except CALL_ERRORS as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"it fails on the network's outputs and targets {list(targets.shape)}: {type(error).__name__}: "
            f"{first[:300]}",
            where=where,
            remedy="it is called with what the network gives and a batch of targets",
        ) from error
