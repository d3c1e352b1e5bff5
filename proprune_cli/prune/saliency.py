"""How much weights matter to the loss, to first order, from gradients on held-out images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.prune.gradients import gradients
from proprune_cli.train.task import Task


def saliency(model: nn.Module, task: Task, form: str) -> dict[str, torch.Tensor]:
    """Per channel axis of every parameter (key ``name/axis``), float64 [length]: what each slice matters to the loss.

    Computed on the network's device, and given on the host. Mean over batches of the validation images, in eval mode,
    for gradient g and weight w (Molchanov et al. 2019):
    ``sum``: Σ (g·w)² over the slice; ``group``: (Σ g·w)²; ``abs``: Σ |g·w|.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    totals: dict[str, torch.Tensor] = {}
    count = 0
    for found in gradients(model, task, named):
        for name, gradient in found.items():
            for key, value in _slices(name, named[name], gradient, form):
                totals[key] = totals[key] + value if key in totals else value
        count += 1
    return {key: (value / count).cpu() for key, value in totals.items()}


def saliency_of_gradients(model: nn.Module, form: str) -> dict[str, torch.Tensor]:
    """`saliency` from the gradients that the parameters have in ``.grad``, of one batch or summed over several.

    Raises:
        InputError: none has any.
    """
    named = [(name, p, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    if not named:
        raise InputError(
            "the method weighs gradients, and no parameter has one",
            where="method",
            remedy="call backward() on the loss of a batch of images before pruning, or choose l1",
        )
    return {key: value.cpu() for name, p, g in named for key, value in _slices(name, p, g, form)}


def _slices(
    name: str, parameter: torch.Tensor, gradient: torch.Tensor, form: str
) -> Iterator[tuple[str, torch.Tensor]]:
    """``name/axis`` and what each slice along it matters."""
    products = (gradient * parameter.detach()).double()
    if form != "group":
        products = products.square() if form == "sum" else products.abs()
    for axis in range(min(products.ndim, 2)):
        value = products.movedim(axis, 0).flatten(1).sum(dim=1) if products.ndim > 1 else products
        yield f"{name}/{axis}", value.square() if form == "group" else value
