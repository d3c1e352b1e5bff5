"""The training loop: one network, a number of epochs, a checkpoint after each, the same result however often killed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from proprune_cli.data.batches import Batches, derived_seed
from proprune_cli.data.dataset import Split
from proprune_cli.errors import InputError
from proprune_cli.files.records import value_of
from proprune_cli.train.cost import CostMeter
from proprune_cli.train.device import device_of
from proprune_cli.train.hooks import EpochEnd, HookState, Step, TrainHook, TrainRun
from proprune_cli.train.options import TrainOptions
from proprune_cli.train.progress import Progress
from proprune_cli.train.task import Task
from proprune_cli.train.tensors import pack, restore, state, unpack
from proprune_cli.train.workspace import Stage

CHECKPOINT = "checkpoint.safetensors"
_STATE: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
}
"""What an optimiser keeps of a parameter."""
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_WARM_UP = 0.2
"""Share of a one-cycle schedule in which the rate rises (Smith & Topin 2019 use up to 0.45)."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean training loss, and accuracy and mean loss on the held-out training images (see `Score`)."""

    loss: float
    validation_accuracy: float
    validation_loss: float


def default_rate(model: nn.Module, options: TrainOptions) -> float:
    """Peak learning rate where the user gave none."""
    if options.lr is not None:
        return options.lr
    if options.optimiser == "adamw":
        return 2e-3
    return 0.1 if any(isinstance(m, _NORMS) for m in model.modules()) else 0.02


def rate_at(step: int, total: int, peak: float, schedule: str) -> float:
    """Learning rate of a step: constant; or cosine from the peak to 0, with a linear rise before it or without."""
    if schedule == "constant":
        return peak
    warm = round(_WARM_UP * total) if schedule == "onecycle" else 0
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


@dataclass(frozen=True)
class Score:
    """How a network does on a split."""

    accuracy: float
    """Percent of images whose largest output is their class, or 100 times the mean of the user's metric."""
    loss: float
    """Mean over the images."""


def evaluate(model: nn.Module, task: Task, split: Split) -> Score:
    """Accuracy (or the user's metric) and loss in eval mode, on the network's device."""
    model.eval()
    score, loss = 0.0, 0.0
    with torch.inference_mode():
        for images, labels in Batches(task.data, split, 512, device=device_of(model)).in_order():
            outputs = model(images)
            score += task.total_score(outputs, labels)
            loss += float(task.loss(outputs, labels)) * len(labels)
    return Score(100.0 * score / len(split), loss / len(split))


def accuracy(model: nn.Module, task: Task, split: Split) -> float:
    """`Score.accuracy` in eval mode."""
    return evaluate(model, task, split).accuracy


def train(
    model: nn.Module,
    task: Task,
    options: TrainOptions,
    *,
    epochs: float,
    peak: float,
    seed: int,
    label: str,
    stage: Stage,
    progress: Progress,
    hooks: Sequence[TrainHook] = (),
    before: float = 0.0,
    after: float = 0.0,
) -> list[EpochRecord]:
    """Train ``model`` in place on its device, from the stage's checkpoint where there is one.

    Every epoch's random streams come from ``seed``, ``label`` and its number, so that a run resumed between two epochs
    takes the same course as one that was never stopped.

    Args:
        epochs: passes over the training images in all; of the last one, a part where it is no whole number.
        peak: highest learning rate.
        before, after: epochs of trainings before and after this one, with which it shares one course of the rate.
        hooks: called in this order; the first that is finished ends the training.

    Raises:
        InputError: the loss is not finite, or the checkpoint is damaged.
    """
    # Not channels_last, which takes 15 to 30 % less CPU time here: with it torch 2.13 crashes in the backward pass of
    # a strided 1×1 convolution (8 to 24 channels, 16×16 pixels, batch 15, two threads, a CPU with AVX-512).
    model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    optimiser = _optimiser(model, options, peak)
    batches = Batches(task.data, task.data.train, options.batch, options.augment, device_of(model))
    run = TrainRun(model, task, options, optimiser, epochs, len(batches), seed)
    lead, follow = (round(part * run.steps) for part in (before, after))

    def rate(step: int) -> float:
        return rate_at(lead + step, lead + run.total + follow, peak, options.schedule)

    try:
        for hook in hooks:
            hook.attach(run)
        records, first = _resume(model, optimiser, stage, label, hooks)
        progress.start(label, run.total, first * len(batches))
        meter = CostMeter(stage, device_of(model).type, label)
        for epoch in range(first, run.passes):
            if any(hook.finished for hook in hooks):
                break
            loss = _epoch(run, batches, epoch, rate, derived_seed(seed, label, epoch), progress, hooks)
            if not math.isfinite(loss):
                raise InputError(
                    f"training diverged: the loss of epoch {epoch + 1} is {loss}",
                    where=label,
                    remedy=f"lower the learning rate, for example --lr {peak / 5:.2g}",
                )
            score = evaluate(model, task, task.data.validation)
            records.append(EpochRecord(loss, score.accuracy, score.loss))
            for hook in hooks:
                hook.end_epoch(EpochEnd(epoch, loss, score.loss, score.accuracy))
            # Before the checkpoint: an epoch that is trained twice has cost twice.
            meter.end_epoch(min(1.0, run.total / run.steps - epoch))
            _checkpoint(model, optimiser, stage, label, records, hooks)
            progress.advance(
                0, f"epoch {epoch + 1} of {run.passes}: loss {loss:.3f}, validation {score.accuracy:.1f} %"
            )
        progress.finish()
    finally:
        for hook in hooks:
            hook.detach()
    model.eval()
    return records


def _epoch(
    run: TrainRun,
    batches: Batches,
    epoch: int,
    rate: Callable[[int], float],
    seed: int,
    progress: Progress,
    hooks: Sequence[TrainHook],
) -> float:
    run.model.train()
    torch.manual_seed(seed)  # dropout and whatever else the network draws
    first = epoch * run.steps
    last = min(first + run.steps, run.total)
    losses = torch.zeros((), device=device_of(run.model))
    for number, (images, labels) in zip(range(first, last), batches.shuffled(seed), strict=False):
        losses += train_step(run, images, labels, number, rate(number), hooks)
        progress.advance()
    return float(losses) / (last - first)


def train_step(
    run: TrainRun, images: torch.Tensor, labels: torch.Tensor, number: int, rate: float, hooks: Sequence[TrainHook]
) -> torch.Tensor:
    """One step of the optimiser, with its hooks; the loss before it, with what hooks put into it, float32 []."""
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    outputs = run.model(images)
    loss = run.task.loss(outputs, labels, run.options.label_smoothing)
    run.optimiser.zero_grad(set_to_none=True)
    step = Step(number, rate, images, labels, outputs, loss)
    for hook in hooks:
        hook.before_backward(step)
    if step.loss.requires_grad:  # else every neuron is frozen, and there is nothing to learn in this epoch
        step.loss.backward()
    for hook in hooks:
        hook.after_backward(step)
    run.optimiser.step()
    for hook in hooks:
        hook.after_step(step)
    return step.loss.detach()


def _optimiser(model: nn.Module, options: TrainOptions, peak: float) -> torch.optim.Optimizer:
    """Norm parameters and biases are not decayed: it only shrinks scales (He et al. 2019, "Bag of Tricks")."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if options.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=peak, foreach=True)
    return torch.optim.SGD(groups, lr=peak, momentum=options.momentum, nesterov=options.momentum > 0, foreach=True)


def _checkpoint(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    stage: Stage,
    label: str,
    records: list[EpochRecord],
    hooks: Sequence[TrainHook],
) -> None:
    """Network, optimiser, hooks and history in one file, written beside the old one and renamed over it."""
    tensors = {f"model/{name}": t for name, t in state(model).items()}
    names: dict[torch.Tensor, str] = {p: n for n, p in model.named_parameters()}
    scalars: dict[str, dict[str, float]] = {}
    for parameter, values in optimiser.state.items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser/{names[parameter]}/{key}"] = value
            elif value is not None:
                scalars.setdefault(names[parameter], {})[key] = value
    notes: dict[str, Any] = {}
    for hook in hooks:
        kept = hook.state()
        tensors |= {f"hook/{hook.name}/{name}": t for name, t in kept.tensors.items()}
        notes[hook.name] = {"finished": hook.finished, "note": kept.note}
    note = {
        "label": label,
        "scalars": scalars,
        "hooks": notes,
        "records": [[r.loss, r.validation_accuracy, r.validation_loss] for r in records],
    }
    stage.write(CHECKPOINT, pack(tensors, note))


def _resume(
    model: nn.Module, optimiser: torch.optim.Optimizer, stage: Stage, label: str, hooks: Sequence[TrainHook]
) -> tuple[list[EpochRecord], int]:
    data = stage.read(CHECKPOINT)
    if data is None:
        return [], 0
    where = f"checkpoint of {label}"
    tensors, note = unpack(data, where)
    restore(model, _below(tensors, "model/"), where)
    try:
        return _restored(model, optimiser, tensors, note, hooks)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise InputError(
            f"the checkpoint is damaged: {error!r}", where=where, remedy="remove its stage's directory, and train again"
        ) from error


def _restored(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    tensors: dict[str, torch.Tensor],
    note: dict[str, Any],
    hooks: Sequence[TrainHook],
) -> tuple[list[EpochRecord], int]:
    """Optimiser, hooks and history of a checkpoint.

    Raises:
        KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError: it is not what was written.
    """
    scalars = value_of(dict[str, dict[str, float]], note["scalars"], "scalars")
    for name, parameter in model.named_parameters():
        values: dict[str, Any] = {**_below(tensors, f"optimiser/{name}/"), **scalars.get(name, {})}
        if values and values.keys() != _STATE[type(optimiser)]:
            raise ValueError(f"the optimiser keeps {sorted(_STATE[type(optimiser)])} of {name}, not {sorted(values)}")
        for key, value in values.items():
            shape = () if key == "step" else parameter.shape
            if isinstance(value, torch.Tensor) and (value.shape != shape or not value.is_floating_point()):
                raise ValueError(f"{key} of {name} is {value.dtype} {list(value.shape)}")
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                # The same memory order as the parameter, as the optimiser itself keeps it.
                values[key] = torch.empty_like(parameter).copy_(value)
        if values:
            optimiser.state[parameter] = values
    for hook in hooks:
        kept = note["hooks"][hook.name]
        hook.finished = value_of(bool, kept["finished"], "finished")
        hook.restore(HookState(_below(tensors, f"hook/{hook.name}/"), kept["note"]))
    rows = value_of(list[tuple[float, float, float]], note["records"], "records")
    records = [EpochRecord(*row) for row in rows]
    return records, len(records)


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
