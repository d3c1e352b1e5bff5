"""Sensitivity: how much accuracy each group of channels costs when a share of it goes, alone and without training.

The scan of Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.2, by groups of channels that go
together; with free residual branches, these are single layers. Removed channels are zeroed where they are made and
where they are read, which is what removal does.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import Group, analyse
from proprune_cli.channels.residual import Residual
from proprune_cli.channels.surgery import all_tensors
from proprune_cli.data.dataset import Split
from proprune_cli.errors import InputError
from proprune_cli.modules.probe import example_input
from proprune_cli.modules.restored import restored
from proprune_cli.prune.methods import Context, Method, method_named
from proprune_cli.prune.methods.common.base import Importance
from proprune_cli.prune.saliency import saliency
from proprune_cli.train.loop import evaluate
from proprune_cli.train.progress import Progress, SilentProgress
from proprune_cli.train.task import Task

SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
VERSION = 2


@dataclass(frozen=True)
class Point:
    """One share of a group removed: accuracy and mean loss (see `Score`), and the operations the network saves."""

    share: float
    removed: int
    accuracy: float
    loss: float
    ops_saved: float
    """Share of the network's multiply-accumulates."""


@dataclass(frozen=True)
class GroupCurve:
    """One group, or why it cannot be pruned (then without points)."""

    name: str
    layers: tuple[str, ...]
    channels: int
    points: tuple[Point, ...]
    reason: str = ""

    def tolerates(self, baseline: float, points_lost: float) -> float:
        """Largest tried share up to which accuracy stays within ``points_lost`` of ``baseline``, 0 where none."""
        share = 0.0
        for point in self.points:
            if baseline - point.accuracy > points_lost:
                break
            share = point.share
        return share


@dataclass(frozen=True)
class Sensitivity:
    """The whole scan; accuracies are of ``images`` validation images."""

    method: str
    residual: Residual
    images: int
    accuracy: float
    loss: float
    groups: tuple[GroupCurve, ...]
    metric: str = "accuracy"
    """What stands under accuracy."""

    def to_json(self) -> dict[str, Any]:
        """Versioned JSON document."""
        return {"version": VERSION, "kind": "sensitivity", **asdict(self)}


def sensitivity(
    model: nn.Module,
    task: Task,
    *,
    method: str = "l1",
    residual: Residual = "coupled",
    shares: Sequence[float] = SHARES,
    images: int = 500,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sensitivity:
    """Scan every group of ``model``, which is left as it was.

    Args:
        method: an importance; its least important channels go first.
        residual: whether layers that meet in an addition are judged as one (``coupled``) or each alone (``free``).
        shares: of a group's channels, each between 0 and 1.
        images: validation images, spread evenly; fewer where there are fewer.

    Raises:
        InputError: the method does not score channels, or a share is out of range.
        UnsupportedError: the network cannot be traced.
    """
    bar = progress or SilentProgress()
    found, own = method_named(method)
    if found.importance is None:
        raise InputError(
            f"{found.name} does not score channels", where="--method", remedy="choose an importance such as l1"
        )
    if not shares or not all(0 < share < 1 for share in shares):
        raise InputError("shares lie between 0 and 1", where="--shares", remedy="for example 0.25,0.5,0.75")
    with restored(model):
        return _scanned(
            model.eval(), task, found, found.importance, own, method, residual, sorted(shares), images, seed, bar
        )


def _scanned(
    model: nn.Module,
    task: Task,
    found: Method,
    importance: Importance,
    own: Any,
    method: str,
    residual: Residual,
    wanted: Sequence[float],
    images: int,
    seed: int,
    bar: Progress,
) -> Sensitivity:
    data = task.data
    channels = analyse(model, example_input(data.in_channels, data.size), residual=residual)
    table = CostTable(channels)
    dense_macs = table.macs(table.full)
    index = np.linspace(0, len(data.validation) - 1, min(images, len(data.validation)), dtype=np.int64)
    part = data.validation.take(index)
    weighed = None if found.saliency is None else saliency(model, task, found.saliency(own))
    context = Context(dict(all_tensors(model)), np.random.default_rng([seed, 7]), weighed)
    base = evaluate(model, task, part)
    prunable = [g for g in channels.groups if g.prunable]
    bar.start("sensitivity", len(prunable) * len(wanted))
    curves: list[GroupCurve] = []
    for position, group in enumerate(channels.groups):
        if not group.prunable:
            curves.append(GroupCurve(group.name, group.layers, group.channels, (), "; ".join(group.reasons)))
            continue
        scores = importance(group, context)
        if scores is None:
            bar.advance(len(wanted))
            curves.append(GroupCurve(group.name, group.layers, group.channels, (), "the method cannot score it"))
            continue
        order = np.argsort(scores, kind="stable")
        points: list[Point] = []
        for share in wanted:
            count = min(round(share * group.channels), group.channels - 1)
            sizes = table.full.copy()
            sizes[position] -= count
            score = _without(model, group, order[:count], task, part)
            points.append(Point(share, count, *score, 1 - table.macs(sizes) / dense_macs))
            bar.advance(detail=group.name)
        curves.append(GroupCurve(group.name, group.layers, group.channels, tuple(points)))
    bar.finish()
    return Sensitivity(method, residual, len(part), base.accuracy, base.loss, tuple(curves), task.metric)


def _without(
    model: nn.Module, group: Group, gone: np.ndarray[Any, np.dtype[np.int64]], task: Task, part: Split
) -> tuple[float, float]:
    with _zeroed(model, group, gone):
        score = evaluate(model, task, part)
    return score.accuracy, score.loss


@contextmanager
def _zeroed(model: nn.Module, group: Group, gone: np.ndarray[Any, np.dtype[np.int64]]) -> Generator[None, None, None]:
    """The channels' slices are 0, and come back after."""
    tensors = dict(all_tensors(model))
    kept: list[tuple[torch.Tensor, int, torch.Tensor, torch.Tensor]] = []
    with torch.no_grad():
        for member in group.members:
            if member.role == "stat":
                continue
            tensor, rows = tensors[member.tensor], torch.from_numpy(member.index[gone].reshape(-1))
            kept.append((tensor, member.dim, rows, tensor.index_select(member.dim, rows).clone()))
            tensor.index_fill_(member.dim, rows, 0.0)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, dim, rows, values in reversed(kept):
                tensor.index_copy_(dim, rows, values)
