"""Channels whose filters are all zero: the constants that they hold where they are read, seen and not guessed.

A zero filter does not make a zero channel. Its bias, the shift of its batch norm and f(0) of what follows leave a
constant, and removing the channel with its constant changes the network (the published *simplify* is wrong by this).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.channels.groups import ChannelMap, Group
from proprune_cli.channels.labels import owner_of
from proprune_cli.modules.probe import at_another_size, probes

Values = npt.NDArray[np.float64]
FLAT = 1e-6
"""A channel counts as constant when its values differ by no more than this share of the largest."""


@dataclass(frozen=True)
class Constants:
    """What was seen in one network."""

    zeroed: tuple[npt.NDArray[np.bool_], ...]
    """For every group, which channels have zero filters only."""
    read: Mapping[str, Values]
    """Module → value of each channel (or feature) of its input, NaN where it is no constant."""
    made: Mapping[str, Values]
    """Module → value of each channel of its output, NaN where it is no constant."""


def constant_channels(model: nn.Module, channels: ChannelMap, example: torch.Tensor) -> Constants:
    """Zero filters of ``model``, and the constants at the inputs of layers and the outputs of branches.

    The values are seen in eval mode on random images of several magnitudes, and of another size where the network
    runs on it; a channel that is not constant on them (zero padding of a depthwise layer shows at the border, once the
    image has an inside) counts as none.
    """
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    zeroed = tuple(_zero_filters(group, tensors) for group in channels.groups)
    readers = {owner_of(m.tensor) for g in channels.groups for m in g.members if m.role == "in"}
    writers = {site.module for site in channels.sites}
    low: dict[tuple[str, str], Values] = {}
    high: dict[tuple[str, str], Values] = {}

    def watch(key: tuple[str, str], x: torch.Tensor, axis: int) -> None:
        nonlocal low, high
        if key in low and len(low[key]) != x.shape[axis]:
            return  # features of a layer that another size gives another number of
        rows = x.detach().movedim(axis, 0).reshape(x.shape[axis], -1).double()
        least, most = rows.amin(1).numpy(), rows.amax(1).numpy()
        low[key] = np.minimum(low[key], least) if key in low else least
        high[key] = np.maximum(high[key], most) if key in high else most

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in model.named_modules(remove_duplicate=False):
        axis = -1 if isinstance(module, nn.Linear) else 1
        if name in readers:
            handles.append(module.register_forward_pre_hook(_before(("read", name), axis, watch)))
        if name in writers:
            handles.append(module.register_forward_hook(_after(("made", name), axis, watch)))
    images = probes(example.shape[1], (example.shape[2], example.shape[3]), seed=5)
    try:
        with torch.no_grad():
            model.eval()(images)
        before = dict(low), dict(high)
        if at_another_size(model, images) is None:
            low, high = before  # it stopped on the way; what it makes at that size is nobody's
    finally:
        for handle in handles:
            handle.remove()
    seen: dict[str, dict[str, Values]] = {"read": {}, "made": {}}
    for (kind, name), least in low.items():
        most = high[(kind, name)]
        flat = most - least <= FLAT * np.maximum(1.0, np.abs(most))
        seen[kind][name] = np.where(flat, (least + most) / 2, np.nan)
    return Constants(zeroed, seen["read"], seen["made"])


def _before(
    key: tuple[str, str], axis: int, watch: Callable[[tuple[str, str], torch.Tensor, int], None]
) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        watch(key, inputs[0], axis)

    return hook


def _after(
    key: tuple[str, str], axis: int, watch: Callable[[tuple[str, str], torch.Tensor, int], None]
) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
    def hook(_module: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        watch(key, output, axis)

    return hook


def _zero_filters(group: Group, tensors: Mapping[str, torch.Tensor]) -> npt.NDArray[np.bool_]:
    """Channels that no filter makes: every filter is zero, or with a single filter a scale after it (γ, depthwise).

    Sums of weights say nothing: a filter whose weights cancel out is no zero filter.
    """
    makers = [m for m in group.members if m.maker]
    if not makers:
        return np.zeros(group.channels, dtype=np.bool_)

    def zero(index: npt.NDArray[np.int64], tensor: torch.Tensor, dim: int) -> npt.NDArray[np.bool_]:
        rows = tensor.detach().movedim(dim, 0).reshape(tensor.shape[dim], -1)
        return np.asarray((rows == 0).all(1).numpy()[index].all(axis=1), dtype=np.bool_)

    found = np.ones(group.channels, dtype=np.bool_)
    for member in makers:
        found &= zero(member.index, tensors[member.tensor], member.dim)
    if len(makers) == 1:
        for member in group.members:
            tensor = tensors[member.tensor]
            prefix = owner_of(member.tensor)
            scales = tensor.ndim > 1 or f"{prefix}.running_var" in tensors
            if member.role == "out" and not member.maker and scales and member.tensor.endswith("weight"):
                found |= zero(member.index, tensor, member.dim)
    return found
