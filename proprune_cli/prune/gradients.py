"""Gradients of the loss on held-out images, batch by batch: what saliencies are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import nn

from proprune_cli.data.batches import Batches
from proprune_cli.train.device import device_of
from proprune_cli.train.task import Task

BATCH = 64


def gradients(
    model: nn.Module, task: Task, parameters: Mapping[str, nn.Parameter], batches: int | None = None
) -> Iterator[dict[str, torch.Tensor]]:
    """For each batch of the validation images, the gradient of the mean loss by each of ``parameters`` that it reaches.

    In eval mode, on the network's device; nothing is left in ``.grad``.

    Args:
        batches: at most so many of them; None: all.
    """
    model.eval()
    given = list(parameters.values())
    stream = Batches(task.data, task.data.validation, BATCH, device=device_of(model)).in_order(BATCH)
    for number, (images, labels) in enumerate(stream):
        if batches is not None and number == batches:
            return
        with torch.enable_grad():
            loss = task.loss(model(images), labels)
            found = cast("tuple[torch.Tensor | None, ...]", torch.autograd.grad(loss, given, allow_unused=True))
        yield {name: g for name, g in zip(parameters, found, strict=True) if g is not None}
