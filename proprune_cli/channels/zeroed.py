"""Removes the channels that a method set to zero, without losing the constants that they leave.

Where every reader of a channel sees it as a constant, the constant goes into the readers' biases: exact for fully
connected layers, and for convolutions that do not pad with zeros. A padded convolution reads the constant inside the
image and 0 around it; there one channel of the group (or a few, where several layers read it) stays as a constant and
takes over the weights of the others, in proportion to their values, which is exact with any padding. A free branch
fills its constant in where it is spread. What none of this fits stays, and the result says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.channels.constants import Constants, Values, constant_channels
from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import map_channels
from proprune_cli.channels.groups import ChannelMap, Group, Member
from proprune_cli.channels.labels import Ids, owner_of
from proprune_cli.channels.residual import Residual
from proprune_cli.channels.shrunk import Shrunk, group_rows, layer_rows
from proprune_cli.channels.spread import FILL, Spread
from proprune_cli.channels.surgery import BIAS, SPREAD, all_tensors, cuts_for, shrink, verify
from proprune_cli.channels.trace import trace
from proprune_cli.modules.copying import copied
from proprune_cli.modules.probe import probes
from proprune_cli.modules.restored import restored

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Plan:
    """What happens to the zeroed channels of one group."""

    gone: Ids
    """Channels to remove."""
    heirs: Ids
    """Channels that stay as constants, one for every reader that needs one."""


def remove_zeroed(model: nn.Module, example: torch.Tensor, where: str = "model", residual: Residual = "free") -> Shrunk:
    """A smaller network that computes what ``model`` computes, without the channels whose filters are all zero.

    Args:
        model: any of its weights may have been set to zero; it is left as it is.
        example: float32 [2, C, H, W].
        residual: ``free``: a branch loses its zero filters also where the shortcut goes on.

    Raises:
        SurgeryError: the smaller network does not compute the same.
        UnsupportedError: the network cannot be traced.
    """
    with restored(model):
        return _removed(model.eval(), example, where, residual)


def _removed(model: nn.Module, example: torch.Tensor, where: str, residual: Residual) -> Shrunk:
    channels = map_channels(model, trace(model, example, where), residual=residual)
    seen = constant_channels(model, channels, example)
    prepared = copied(model)
    biases: dict[str, torch.Tensor] = {}
    """What layers without bias get as one, for all their channels."""
    kept: dict[int, Ids] = {}
    notes: list[str] = []
    constants = _fills(model, channels, seen)
    held: dict[int, _Mask] = {}
    """Stream → channels that must stay."""
    for place, group in enumerate(channels.groups):
        dead = seen.zeroed[place]
        if group.branches and not group.held:
            dead = _dead_stream(channels, place, seen)
        elif group.stream is not None or not group.prunable:
            continue
        if not dead.any():
            continue
        plan = _plan(model, group, np.flatnonzero(dead), seen)
        stay = int(dead.sum()) - len(plan.gone)
        if stay > len(plan.heirs):
            notes.append(
                f"{group.name}: {stay - len(plan.heirs)} zeroed channels stay, because what reads them sees no constant"
            )
        _fold(prepared, group, plan, seen, biases)
        alive = np.ones(group.channels, dtype=np.bool_)
        alive[plan.gone] = False
        if group.branches:
            held[place] = alive
        else:
            kept[place] = np.flatnonzero(alive)
    for place, group in enumerate(channels.groups):
        if group.stream is not None and group.feeds is not None:
            kept[place] = np.flatnonzero(_branch(channels, place, seen, constants, held))
    cuts = cuts_for(
        channels, kept, dict(all_tensors(model)), {m: (left, len(values)) for m, (left, values) in constants.items()}
    )
    cuts |= {module + BIAS: {0: [1]} for module in biases}
    smaller = shrink(prepared, cuts)
    for module, bias in biases.items():
        stay = cuts.get(f"{module}.weight", {}).get(0, list(range(len(bias))))
        smaller.get_parameter(f"{module}.bias").data.copy_(bias[stay])
    for module, (_, values) in constants.items():
        if cuts.get(module + SPREAD, {}).get(0):
            getattr(smaller.get_submodule(module), FILL).copy_(torch.from_numpy(values))
    error = verify(smaller, model, probes(example.shape[1], (example.shape[2], example.shape[3])), where)
    table = CostTable(channels)
    sizes = np.array([int(alive.sum()) for alive in channels.survivors(kept)], dtype=np.int64)
    return Shrunk(
        model=smaller.eval(),
        cuts=cuts,
        achieved=table.macs(sizes) / max(1, table.macs(table.full)),
        error=error,
        dense_macs=table.macs(table.full),
        macs=table.macs(sizes),
        dense_params=table.params(table.full),
        params=sum(p.numel() for p in smaller.parameters()),
        groups=group_rows(channels, sizes, frozenset()),
        layers=layer_rows(table, sizes),
        notes=tuple(notes),
    )


def _fills(model: nn.Module, channels: ChannelMap, seen: Constants) -> dict[str, tuple[Ids, Values]]:
    """Module to be spread → which constant each of its channels leaves (-1: none), and the constants, 0 first."""
    found: dict[str, tuple[Ids, Values]] = {}
    for site in channels.sites:
        value = seen.made.get(site.module)
        if value is None or isinstance(model.get_submodule(site.module), Spread):
            continue
        known = np.unique(np.r_[0.0, value[~np.isnan(value)]])
        known = np.r_[0.0, known[known != 0]]
        which = np.full(len(value), -1, dtype=np.int64)
        for number, constant in enumerate(known):
            which[value == constant] = number
        found[site.module] = (which, known)
    return found


def _dead_stream(channels: ChannelMap, place: int, seen: Constants) -> _Mask:
    """Channels of a stream that no branch feeds with anything but a constant."""
    dead = np.ones(channels.groups[place].channels, dtype=np.bool_)
    fed = np.zeros_like(dead)
    for branch in channels.groups[place].branches:
        feeds = channels.groups[branch].feeds
        if feeds is not None:
            dead[feeds[~seen.zeroed[branch]]] = False
            fed[feeds] = True
    return dead & fed


def _branch(
    channels: ChannelMap,
    place: int,
    seen: Constants,
    constants: dict[str, tuple[Ids, Values]],
    held: dict[int, _Mask],
) -> _Mask:
    """Channels of a free branch that stay."""
    group = channels.groups[place]
    stream = channels.groups[group.stream or 0]
    feeds = group.feeds if group.feeds is not None else np.empty(0, dtype=np.int64)
    alive = ~seen.zeroed[place]
    for site in channels.sites:
        here = site.source.group == place
        if here.any():
            known = constants.get(site.module)
            unknown = here if known is None else here & (known[0] < 0)
            alive[site.source.channel[unknown]] = True  # its filter is zero, but not its output a constant
    if not stream.held:
        # A channel that the stream needs although all have dropped it: its first branch keeps it.
        needed = held.get(group.stream or 0, np.ones(stream.channels, dtype=np.bool_)) & _dead_stream(
            channels, group.stream or 0, seen
        )
        first = stream.branches[0]
        of_first = channels.groups[first].feeds
        if place == first or of_first is None or bool((needed & ~np.isin(np.arange(stream.channels), of_first)).any()):
            alive |= needed[feeds]
    if not alive.any():
        # One that the stream has anyway, of which it does not grow.
        there = np.flatnonzero(~_dead_stream(channels, group.stream or 0, seen)[feeds])
        alive[there[0] if len(there) else 0] = True
    return alive


def _plan(model: nn.Module, group: Group, dead: Ids, seen: Constants) -> _Plan:
    """Which of the zeroed channels ``dead`` can go."""
    readers = [m for m in group.members if m.role == "in"]
    ok = np.ones(len(dead), dtype=np.bool_)
    padded: list[Values] = []
    for member in readers:
        value = _values(member, seen)
        if value is None or _reader(model, member) is None:
            return _Plan(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        mine = value[dead]
        ok &= ~np.isnan(mine).any(axis=1)
        if not _folds(_reader(model, member)):
            padded.append(np.abs(mine).max(axis=1))  # a reader may read a channel at several places
    dead, padded = dead[ok], [p[ok] for p in padded]
    heirs = _heirs([p for p in padded if (p > 0).any()])
    if not len(heirs) and len(dead) == group.channels:
        heirs = np.zeros(1, dtype=np.int64)  # a layer without channels would not run
    return _Plan(np.delete(dead, heirs), dead[heirs])


def _heirs(sizes: list[Values]) -> Ids:
    """Few channels of which every reader finds one that is not small to it; readers' |values|, [channels] each."""
    chosen: list[int] = []
    open_ = [s / s.max() for s in sizes]
    while open_:
        table = np.array(open_)
        serves = table >= 0.25
        best = int(np.lexsort((table.sum(axis=0), serves.sum(axis=0)))[-1])
        chosen.append(best)
        open_ = [s for s in open_ if s[best] < 0.25]
    return np.array(chosen, dtype=np.int64)


def _reader(model: nn.Module, member: Member) -> nn.Module | None:
    """The layer whose weight reads the channels; None where its constants cannot be worked out from its inputs."""
    module = model.get_submodule(owner_of(member.tensor))
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return module if module.groups == 1 else None
    return module if isinstance(module, (nn.Linear, nn.ConvTranspose1d, nn.ConvTranspose2d)) else None


def _folds(module: nn.Module | None) -> bool:
    """Whether a constant input gives a constant output, so that it can go into the bias."""
    if isinstance(module, nn.Linear):
        return True
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        padding = module.padding
        none = padding == "valid" or (not isinstance(padding, str) and not any(padding))
        return none or module.padding_mode != "zeros"
    return False


def _values(member: Member, seen: Constants) -> Values | None:
    """Constants of the group's channels at one reader, float64 [channels, slices]; NaN where there is none."""
    value = seen.read.get(owner_of(member.tensor))
    return None if value is None or member.index.max(initial=0) >= len(value) else value[member.index]


def _fold(model: nn.Module, group: Group, plan: _Plan, seen: Constants, biases: dict[str, torch.Tensor]) -> None:
    """Move the constants of the channels that go into biases, or into the weights of the one that stays."""
    if not len(plan.gone):
        return
    for member in (m for m in group.members if m.role == "in"):
        value = _values(member, seen)
        module = _reader(model, member)
        if value is None or module is None:
            continue
        weight = getattr(module, member.tensor.rpartition(".")[2])
        slices = weight.detach().movedim(member.dim, 0)
        gone = torch.from_numpy(member.index[plan.gone].reshape(-1))
        constant = torch.from_numpy(value[plan.gone].reshape(-1)).double()
        if not bool(constant.any()):
            continue
        weighed = torch.tensordot(constant, slices[gone].double(), dims=1)  # [the other axes of the weight]
        with torch.no_grad():
            if _folds(module):
                shift = weighed.reshape(weighed.shape[0], -1).sum(1).to(weight.dtype)
                name = owner_of(member.tensor)
                if isinstance(module.bias, torch.Tensor):
                    module.bias += shift
                else:
                    biases[name] = biases.get(name, torch.zeros_like(shift)) + shift
            else:
                own, places = value[plan.heirs].reshape(-1), member.index[plan.heirs].reshape(-1)
                heir = int(np.abs(own).argmax())
                weight.movedim(member.dim, 0)[int(places[heir])] += (weighed / float(own[heir])).to(weight.dtype)
