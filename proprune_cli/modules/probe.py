"""A network seen from outside: an input for it, and whether it runs on it."""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.errors import InputError
from proprune_cli.modules.failures import told
from proprune_cli.modules.outputs import tensors_of
from proprune_cli.modules.restored import restored


def example_input(in_channels: int, size: tuple[int, int], batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Random input, float32 [batch, in_channels, height, width], from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, in_channels, *size, generator=generator)


def probes(in_channels: int, size: tuple[int, int], seed: int = 1) -> torch.Tensor:
    """Four random inputs of several magnitudes, float32 [4, in_channels, height, width].

    About zero, dark (hundredths), large (tens), and bright (positive alone): what a network does with constants, clamps
    and borders shows on some of them.
    """
    x = example_input(in_channels, size, batch=4, seed=seed)
    return torch.stack([x[0], 0.01 * x[1], 30 * x[2], 2 + x[3].abs()])


def at_another_size(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor | None:
    """One image of another size than ``inputs`` [B, C, H, W], where the network runs on it; else None.

    32 pixels less each way, or more where that would leave less than 32: networks halve images five times.
    """
    height, width = inputs.shape[2:]
    step = -32 if min(height, width) >= 64 else 32
    other = example_input(inputs.shape[1], (height + step, width + step), batch=1, seed=2)
    try:
        with restored(model, parameters=False), torch.no_grad():
            model.eval()(other)
    except Exception:  # noqa: BLE001  # whatever a network's code raises where it does not like the size
        return None
    return other


def check_runs(model: nn.Module, example: torch.Tensor, where: str) -> list[torch.Tensor]:
    """Outputs of the network in eval mode for ``example``; the network is left as it was.

    Raises:
        InputError: it does not run on this input, or gives something else than tensors.
    """
    try:
        with restored(model), torch.no_grad():
            result = model.eval()(example)
    except Exception as error:  # a network's code may raise anything
        raise InputError(
            f"the network does not run on an input of shape {list(example.shape)}: {told(error, model)}",
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
