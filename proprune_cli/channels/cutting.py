"""Removes channels from a network, or sets them to zero in a copy of its full size (`surgery` compares the two)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.channels.groups import ChannelMap, Kept
from proprune_cli.channels.labels import Ids
from proprune_cli.channels.spread import FILL, spread, unspread
from proprune_cli.files.records import value_of
from proprune_cli.modules.copying import copied

Cuts = dict[str, dict[int, list[int]]]
"""Parameter or buffer → axis → indices that stay, rising. Plain numbers: this is what a run stores.

Beside them stand ``MODULE:groups`` → 0 → [number of groups], and ``MODULE:spread`` → 0 → index of a spread layer,
1 → [number of constants filled in]; an empty index: the layer is plain again. ``MODULE:bias``: it gets a bias.
"""

GROUPS, SPREAD, BIAS = ":groups", ":spread", ":bias"

_MOST_CHANNELS = 1 << 20
"""No layer has so many; a file that says so asks for memory."""


def cuts_for(
    channels: ChannelMap,
    kept: Kept,
    tensors: Mapping[str, torch.Tensor],
    constants: Mapping[str, tuple[Ids, int]] | None = None,
) -> Cuts:
    """Which indices of which axes stay, and how grouped and spread layers change.

    Args:
        constants: for a module that is spread, which constant each of its channels leaves when it is removed, and
            how many constants there are; 0, the constant 0, where it is not named.
    """
    stay = channels.survivors(kept)
    keep: dict[tuple[str, int], npt.NDArray[np.bool_]] = {}
    for group, alive in zip(channels.groups, stay, strict=True):
        if alive.all():
            continue
        for member in group.members:
            length = tensors[member.tensor].shape[member.dim]
            mask = keep.setdefault((member.tensor, member.dim), np.ones(length, dtype=np.bool_))
            mask[member.index[~alive].reshape(-1)] = False
    cuts: Cuts = {}
    for (tensor, dim), mask in keep.items():
        cuts.setdefault(tensor, {})[dim] = np.flatnonzero(mask).tolist()
    for whole in channels.whole:
        alive = whole.out.stay(stay)
        if not alive.all():
            cuts[whole.module + GROUPS] = {0: [whole.groups * int(alive.sum()) // len(alive)]}
    for site in channels.sites:
        source, place = site.source.stay(stay), site.place.stay(stay)
        if source.all() and place.all():
            continue
        width = int(source.sum())
        left, fills = (constants or {}).get(site.module, (np.zeros(len(source), dtype=np.int64), site.fills))
        rank = np.where(source, np.cumsum(source) - 1, width + left)
        index = np.where(site.index >= 0, rank[np.maximum(site.index, 0)], width - 1 - site.index)[place]
        plain = len(index) == width and bool((index == np.arange(width)).all())
        cuts[site.module + SPREAD] = {0: [] if plain else index.tolist(), 1: [fills]}
    return cuts


def cuts_of(value: object) -> Cuts:
    """Inverse of what JSON makes of `Cuts`.

    Raises:
        ValueError: it is none: an axis would keep an index twice, or a number is out of all proportion.
    """
    raw = value_of(dict[str, dict[str, list[int]]], value, "cuts")
    cuts = {name: {int(axis): kept for axis, kept in axes.items()} for name, axes in raw.items()}
    for name, axes in cuts.items():
        for axis, kept in axes.items():
            rising = ":" in name or all(a < b for a, b in itertools.pairwise(kept))
            if not 0 <= axis < 8 or not rising or any(n >= _MOST_CHANNELS or n < -_MOST_CHANNELS for n in kept):
                raise ValueError(f"cuts.{name[:60]} is no list of rising indices")
            if ":" not in name and kept and kept[0] < 0:
                raise ValueError(f"cuts.{name[:60]} has a negative index")
    return cuts


def shrink(model: nn.Module, cuts: Cuts) -> nn.Module:
    """A copy of ``model`` without the channels that ``cuts`` leaves out."""
    made: dict[int, torch.Tensor] = {}
    """What is taken instead of copying: large weights are cut without a copy of the whole."""
    for name, old in all_tensors(model):
        if name not in cuts:
            continue
        data = old.detach()
        # The axis that loses most goes first.
        for dim, indices in sorted(cuts[name].items(), key=lambda item: len(item[1]) / old.shape[item[0]]):
            data = data.index_select(dim, torch.tensor(indices, dtype=torch.int64, device=data.device))
        data = data.contiguous()
        made[id(old)] = nn.Parameter(data, old.requires_grad) if isinstance(old, nn.Parameter) else data
    known = {name for name, _ in all_tensors(model)}
    smaller = copied(model, made)
    for key, axes in cuts.items():
        name, colon, what = key.rpartition(":")
        if not colon:
            if key not in known:
                raise KeyError(key)
            continue
        module = smaller.get_submodule(name)
        if what == GROUPS[1:]:
            setattr(module, "num_groups" if isinstance(module, nn.GroupNorm) else "groups", axes[0][0])
        elif what == BIAS[1:]:
            add_bias(module)
        elif axes[0]:
            spread(module, axes[0], getattr(module, FILL, torch.zeros(axes[1][0])))
        else:
            unspread(module)
    for module in smaller.modules():
        _update_counts(module)
    return smaller


def masked(model: nn.Module, channels: ChannelMap, kept: Kept) -> nn.Module:
    """A copy of ``model``, of its full size, whose removed channels are zero where they are made.

    Where a channel passes through f with f(0) ≠ 0 on the way, its readers' weights are zero too.
    """
    dense = copied(model)
    tensors = dict(all_tensors(dense))
    with torch.no_grad():
        for group, alive in zip(channels.groups, channels.survivors(kept), strict=True):
            for member in group.members:
                if not alive.all() and (member.role == "out" or (member.role == "in" and group.lifted)):
                    index = torch.from_numpy(member.index[~alive].reshape(-1))
                    tensors[member.tensor].index_fill_(member.dim, index, 0.0)
    return dense


def all_tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters and buffers by every name they have."""
    return [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]


def add_bias(module: nn.Module) -> None:
    """Give a convolution or fully connected layer without bias one of zeros."""
    weight = module.weight
    if not isinstance(weight, torch.Tensor):
        raise KeyError("weight")
    transposed = isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    channels = weight.shape[1] * int(getattr(module, "groups", 1)) if transposed else weight.shape[0]
    module.register_parameter("bias", nn.Parameter(weight.new_zeros(channels)))


def _update_counts(module: nn.Module) -> None:
    """The numbers of channels a module remembers follow its weights and groups."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        module.in_channels = module.weight.shape[0]
        module.out_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        known = module.weight if module.affine else module.running_mean
        if known is not None:
            module.num_features = known.shape[0]
    elif isinstance(module, (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)):
        if module.affine:
            module.num_features = module.weight.shape[0]
    elif isinstance(module, nn.GroupNorm):
        if module.affine:
            module.num_channels = module.weight.shape[0]
    elif isinstance(module, nn.RNNBase):
        module.input_size = module.get_parameter("weight_ih_l0").shape[1]
    elif isinstance(module, nn.RNNCellBase):
        module.input_size = module.weight_ih.shape[1]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
