"""A network seen from outside: an input for it, and whether it runs on it."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.modules.outputs import tensors_of


def example_input(in_channels: int, size: tuple[int, int], batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Random input, float32 [batch, in_channels, height, width], from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, in_channels, *size, generator=generator)


def check_runs(model: nn.Module, example: torch.Tensor, where: str) -> list[torch.Tensor]:
    """Outputs of the network in eval mode for ``example``.

    Raises:
        InputError: it does not run on this input, or gives something else than tensors.
    """
    model.eval()
    try:
        with torch.no_grad():
            result = model(example)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"the network does not run on an input of shape {list(example.shape)}: {first_line(error)}",
            where=where,
            remedy="check the model's input channels and image size against the data set "
            "(for instance --data 'NAME?size=32')",
        ) from error
    try:
        return tensors_of(result)
    except TypeError as error:
        raise InputError(
            f"the network gives something else than tensors: {error}",
            where=where,
            remedy="let its forward return a tensor, or a tuple, list or dictionary of tensors",
        ) from error


def first_line(error: BaseException) -> str:
    """What an error says first, cut to a line of a message; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
