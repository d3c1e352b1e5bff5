"""Removes channels from a network, and proves that what is left computes what the masked network computes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from proprune_cli.errors import UnsupportedError
from proprune_cli.prune.channels import Ids
from proprune_cli.prune.dependencies import Group

Cuts = dict[str, dict[int, list[int]]]
"""Parameter or buffer → axis → indices that stay, rising. Plain numbers: this is what a run stores."""
Kept = Mapping[int, Ids]
"""Place of a group → its channels that stay, rising; groups that are not named stay whole."""

RELATIVE_TOLERANCE = 1e-4


class SurgeryError(UnsupportedError):
    """The pruned network does not compute what the masked network computes (exit 3)."""


def cuts_for(groups: Sequence[Group], kept: Kept, tensors: Mapping[str, torch.Tensor]) -> Cuts:
    """Which indices of which axes stay."""
    keep: dict[tuple[str, int], np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
    for position, group in enumerate(groups):
        gone = _gone(group, kept.get(position))
        if not len(gone):
            continue
        for member in group.members:
            length = tensors[member.tensor].shape[member.dim]
            mask = keep.setdefault((member.tensor, member.dim), np.ones(length, dtype=np.bool_))
            mask[member.index[gone].reshape(-1)] = False
    cuts: Cuts = {}
    for (tensor, dim), mask in keep.items():
        cuts.setdefault(tensor, {})[dim] = np.flatnonzero(mask).tolist()
    return cuts


def shrink(model: nn.Module, cuts: Cuts) -> nn.Module:
    """A copy of ``model`` without the channels that ``cuts`` leaves out."""
    smaller = copy.deepcopy(model)
    aliases: dict[int, list[str]] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in _all_tensors(smaller):
        aliases.setdefault(id(tensor), []).append(name)
        tensors[name] = tensor
    for name, axes in cuts.items():
        old = tensors[name]
        data = old.detach()
        for dim, indices in axes.items():
            data = data.index_select(dim, torch.tensor(indices, dtype=torch.int64))
        data = data.clone(memory_format=torch.contiguous_format)
        new = nn.Parameter(data, old.requires_grad) if isinstance(old, nn.Parameter) else data
        for alias in aliases[id(old)]:
            _put(smaller, alias, new)
    for module in smaller.modules():
        _update_counts(module)
    return smaller


def masked(model: nn.Module, groups: Sequence[Group], kept: Kept) -> nn.Module:
    """A copy of ``model``, of its full size, whose removed channels are zero where they are made.

    Where a channel passes through f with f(0) ≠ 0 on the way, its readers' weights are zero too.
    """
    dense = copy.deepcopy(model)
    tensors = dict(_all_tensors(dense))
    with torch.no_grad():
        for position, group in enumerate(groups):
            gone = _gone(group, kept.get(position))
            for member in group.members:
                if len(gone) and (member.role == "out" or (member.role == "in" and group.lifted)):
                    index = torch.from_numpy(member.index[gone].reshape(-1))
                    tensors[member.tensor].index_fill_(member.dim, index, 0.0)
    return dense


def verify(pruned: nn.Module, reference: nn.Module, inputs: torch.Tensor, where: str = "model") -> float:
    """Largest difference of the two networks' outputs in eval mode, over the largest output of ``reference``.

    Raises:
        SurgeryError: the pruned network does not run, or differs by more than 1e-4.
    """
    remedy = "exclude the layers concerned (--exclude), and report this network"
    with torch.no_grad():
        expected = reference.eval()(inputs)
        try:
            found = pruned.eval()(inputs)
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise SurgeryError(
                f"the pruned network does not run: {first[:300]}",
                where=where,
                remedy="its code may name a number of channels; use sizes of tensors, such as torch.flatten(x, 1), "
                "or exclude the layers before it (--exclude)",
            ) from error
    if found.shape != expected.shape:
        raise SurgeryError(
            f"the pruned network gives {list(found.shape)}, the dense one {list(expected.shape)}",
            where=where,
            remedy=remedy,
        )
    scale = float(expected.abs().max())
    error = float((found - expected).abs().max()) / scale if scale > 0 else float((found - expected).abs().max())
    if not error <= RELATIVE_TOLERANCE:
        raise SurgeryError(
            f"the pruned network differs from the masked one by {error:.2g} of the largest output",
            where=where,
            remedy=remedy,
        )
    return error


def _gone(group: Group, kept: Ids | None) -> Ids:
    if kept is None:
        return np.empty(0, dtype=np.int64)
    return np.setdiff1d(np.arange(group.channels, dtype=np.int64), kept)


def _all_tensors(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]


def _put(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(leaf, tensor)
    else:
        setattr(module, leaf, tensor)  # a known buffer keeps whether it is persistent


def _update_counts(module: nn.Module) -> None:
    """The numbers of channels a module remembers follow its weights."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        depthwise = module.groups > 1 and module.groups == module.in_channels
        multiplier = module.out_channels // module.in_channels if depthwise else 1
        module.out_channels = module.weight.shape[0]
        if depthwise:
            module.groups = module.in_channels = module.out_channels // multiplier
        else:
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
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
