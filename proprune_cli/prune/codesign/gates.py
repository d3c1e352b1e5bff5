"""Gates: channels of a network that are open or closed while it learns.

Channels of a group stand in an order, and a group of width v has its first ones open (nested dropout, Rippel et al.
2014, "Learning Ordered Representations with Nested Dropout"): one number says everything about a group, whichever
width it comes to is a network that was trained, and which channels go is never a matter of noise.

While sizes are searched, gates are drawn: channel of rank r is open with probability σ((v - r - ½) / τ), by one
logistic number for each group, so that an open channel never has a closed one before it. Backwards the probability's
derivative stands for the gate's (straight-through: Bengio et al. 2013, Section 4). A gate is thus always 0 or 1, and
the weights behind it can't make up for one that is half open, as they do where a factor multiplies a channel for long;
averaged over open and closed it sees the slope at both ends, which is the trapezoid of what closing the channel costs.

Kernels have gates too. An engine that walks lists of taps lets every input channel have kernel positions of its own,
the same for all filters, and takes as many taps as the channel with most of them (guided pruning, Boukli Hacene et al.
2018, keeps one that is known in advance). A kernel of size t has those t positions of each input channel open whose
weights are largest now, until sizes stand still: magnitude pruning that goes on with training (Zhu & Gupta 2017), in
the pattern that costs least here. And a branch of a residual stream has one gate, for all its channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import parametrize

from proprune_cli.channels.groups import ChannelMap
from proprune_cli.channels.labels import Ids
from proprune_cli.prune.codesign.blocks import OPEN, Block
from proprune_cli.prune.codesign.kernels import Kernel, ranks_of


@dataclass
class Bank:
    """The gates of a network, one after the other, [gates + 1]: the last one is always open."""

    drawn: torch.Tensor
    """In training, with the graph of the widths."""
    settled: torch.Tensor
    """In evaluation."""


class Gate(nn.Module):
    """Parametrisation w → w · gate, by slices of one axis."""

    which: torch.Tensor

    def __init__(self, bank: Bank, which: torch.Tensor, dim: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("which", which, persistent=False)
        self._bank = [bank]  # in a list: no part of the module, which is copied with the network
        self._shape = tuple(-1 if axis == dim else 1 for axis in range(rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The shape of ``weight``."""
        bank = self._bank[0]
        gates = bank.drawn if self.training else bank.settled
        return weight * gates[self.which].reshape(self._shape)


class PositionGate(nn.Module):
    """Parametrisation w → w · gate, by input channel and kernel position.

    Attributes:
        order: rank of each position, int64 [in, positions], once it is settled; before, the weights decide.
    """

    def __init__(self, bank: Bank, first: int, kernel: Kernel) -> None:
        super().__init__()
        self._bank = [bank]
        self._first, self._positions = first, kernel.positions
        self.order: torch.Tensor | None = None

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The shape of ``weight``."""
        bank = self._bank[0]
        gates = (bank.drawn if self.training else bank.settled)[self._first : self._first + self._positions]
        order = ranks_of(weight) if self.order is None else self.order.to(weight.device)
        return weight * gates[order].reshape(1, *weight.shape[1:])


@dataclass(frozen=True)
class Layout:
    """Where gates stand in a `Bank`: those of groups, of kernels, of streams, and the last one.

    Attributes:
        places: groups whose widths are learned. ranks: of their channels, int64 [channels] each.
        kernels: whose positions are learned. blocks: branches that may go.
        streams: group of a stream → for each of its branches, gate of the channel that feeds each of its channels, or
            -1: none; int64 [branches, channels].
    """

    places: tuple[int, ...]
    ranks: tuple[Ids, ...]
    streams: dict[int, Ids]
    kernels: tuple[Kernel, ...] = ()
    blocks: tuple[Block, ...] = ()

    @classmethod
    def of(
        cls,
        channels: ChannelMap,
        orders: Mapping[int, Ids],
        kernels: Sequence[Kernel] = (),
        blocks: Sequence[Block] = (),
    ) -> Layout:
        """``orders``: place of a group → its channels, the one that is kept longest first."""
        places = tuple(orders)
        ranks = tuple(np.argsort(orders[place]) for place in places)
        start = dict(zip(places, np.cumsum([0, *(len(r) for r in ranks)]).tolist(), strict=False))
        streams: dict[int, Ids] = {}
        for place, group in enumerate(channels.groups):
            if not group.branches or group.held:
                continue
            table = np.full((len(group.branches), group.channels), -1, dtype=np.int64)
            for row, branch in enumerate(group.branches):
                feeds = channels.groups[branch].feeds
                if feeds is None or branch not in start:
                    break  # a branch that stays whole keeps the stream as it is
                table[row, feeds] = start[branch] + np.arange(len(feeds))
            else:
                streams[place] = table
        return cls(places, ranks, streams, tuple(kernels), tuple(blocks))

    @property
    def of_groups(self) -> int:
        """Gates of the groups, without those of streams."""
        return sum(len(ranks) for ranks in self.ranks)

    @property
    def count(self) -> int:
        """Gates that something is learned of: those of groups, of kernels, and one for each block."""
        return self.of_groups + sum(kernel.positions for kernel in self.kernels) + len(self.blocks)

    @property
    def all_ranks(self) -> list[npt.NDArray[np.float64]]:
        """Ranks of the gates, size by size: of groups' channels, of kernels' positions, of blocks half of `OPEN`."""
        numbers = [*self.ranks, *(np.arange(kernel.positions) for kernel in self.kernels)]
        return [*(ranks.astype(np.float64) for ranks in numbers), *(np.array([OPEN / 2 - 0.5]) for _ in self.blocks)]

    @cached_property
    def _block_of(self) -> torch.Tensor:
        """For each gate of `count` the one that closes it too, int64 [count]; `count`: none does."""
        owner = torch.full((self.count,), self.count)
        for at, block in enumerate(self.blocks):
            gates = self.gates_of(block.place)
            if gates is not None:
                owner[torch.from_numpy(gates)] = self.count - len(self.blocks) + at
        return owner

    def gates_of(self, place: int) -> Ids | None:
        """Gates of a group's channels, int64 [channels]; None where it has none."""
        start = self.count
        if place in self.places:
            at = self.places.index(place)
            first = sum(len(ranks) for ranks in self.ranks[:at])
            return first + np.arange(len(self.ranks[at]))
        for stream, table in self.streams.items():
            if stream == place:
                return start + np.arange(table.shape[1])
            start += table.shape[1]
        return None

    def complete(self, gates: torch.Tensor) -> torch.Tensor:
        """[count] → with those of streams, open where any branch is, and the last one: float32 [gates + 1]."""
        if self.blocks:
            gates = gates * torch.cat([gates, gates.new_ones(1)])[self._block_of.to(gates.device)]
        parts = [gates]
        for table in self.streams.values():
            index = torch.from_numpy(table).to(gates.device)
            known = torch.where(index >= 0, gates[index.clamp(min=0)], torch.zeros((), device=gates.device))
            parts.append(known.amax(dim=0))
        return torch.cat([*parts, torch.ones(1, device=gates.device)])


def install(model: nn.Module, channels: ChannelMap, layout: Layout, bank: Bank, example: torch.Tensor) -> list[str]:
    """Put the gates where channels are made; the parameters' names.

    A convolution's filters behind which a norm stands are left alone: the norm's scale and shift are the channel's last
    word, and with the filters at 0 nothing would be known of a closed channel.
    """
    wanted: dict[tuple[str, int], torch.Tensor] = {}
    parameters = dict(model.named_parameters())
    makers = {m.tensor.rpartition(".")[0] for g in channels.groups for m in g.members if m.maker}
    normed = _before_norms(model, makers, example)
    last = layout.count + sum(table.shape[1] for table in layout.streams.values())
    for place, group in enumerate(channels.groups):
        gates = layout.gates_of(place)
        if gates is None:
            continue
        affine = {m.tensor.rpartition(".")[0] for m in group.members if m.role == "out" and m.tensor in parameters}
        for member in group.members:
            owner = member.tensor.rpartition(".")[0]
            if member.role != "out" or member.tensor not in parameters or normed.get(owner) in affine:
                continue
            length = parameters[member.tensor].shape[member.dim]
            which = wanted.setdefault((member.tensor, member.dim), torch.full((length,), last))
            which[torch.from_numpy(member.index)] = torch.from_numpy(gates)[:, None].expand(*member.index.shape)
    for (tensor, dim), which in wanted.items():
        owner, _, name = tensor.rpartition(".")
        gate = Gate(bank, which.to(parameters[tensor].device), dim, parameters[tensor].ndim)
        parametrize.register_parametrization(model.get_submodule(owner), name, gate, unsafe=True)
    first = layout.of_groups
    for kernel in layout.kernels:
        owner, _, name = kernel.tensor.rpartition(".")
        # Behind a gate of channels, so that closed filters have no say.
        parametrize.register_parametrization(
            model.get_submodule(owner), name, PositionGate(bank, first, kernel), unsafe=True
        )
        first += kernel.positions
    return sorted({tensor for tensor, _ in wanted} | {kernel.tensor for kernel in layout.kernels})


def position_ranks(model: nn.Module, layout: Layout) -> dict[str, torch.Tensor]:
    """Ranks of the positions of ``layout``'s kernels as the weights have them now (see `ranks_of`)."""
    found: dict[str, torch.Tensor] = {}
    for kernel in layout.kernels:
        owner, _, name = kernel.tensor.rpartition(".")
        chain = getattr(model.get_submodule(owner).parametrizations, name)
        weight = chain.original
        for part in chain:
            if isinstance(part, PositionGate):
                break
            weight = part(weight)
        found[kernel.tensor] = ranks_of(weight).cpu()
    return found


def settle_positions(model: nn.Module, orders: Mapping[str, torch.Tensor]) -> None:
    """From now on positions have these ranks."""
    for tensor, order in orders.items():
        owner, _, name = tensor.rpartition(".")
        for part in getattr(model.get_submodule(owner).parametrizations, name):
            if isinstance(part, PositionGate):
                part.order = order


def remove(model: nn.Module, gated: Sequence[str]) -> None:
    """Leave the parameters as the gates have them."""
    model.eval()
    for tensor in gated:
        owner, _, name = tensor.rpartition(".")
        parametrize.remove_parametrizations(model.get_submodule(owner), name, leave_parametrized=True)


def _before_norms(model: nn.Module, makers: set[str], example: torch.Tensor) -> dict[str, str]:
    """Of ``makers`` those whose output a norm with a scale of its own takes as it is → that norm."""
    made: dict[int, str] = {}
    found: dict[str, str] = {}
    kept: list[object] = []
    handles: list[torch.utils.hooks.RemovableHandle] = []

    def after(name: str) -> object:
        def hook(_: nn.Module, __: object, output: object) -> None:
            made[id(output)] = name
            kept.append(output)  # so that no other tensor ever has its id

        return hook

    def before(name: str) -> object:
        def hook(_: nn.Module, inputs: tuple[object, ...]) -> None:
            if inputs and id(inputs[0]) in made:
                found[made[id(inputs[0])]] = name

        return hook

    mode = model.training
    try:
        for name, module in model.named_modules():
            if name in makers:
                handles.append(module.register_forward_hook(after(name)))  # pyright: ignore[reportArgumentType]
            elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)) and module.affine:
                handles.append(module.register_forward_pre_hook(before(name)))  # pyright: ignore[reportArgumentType]
        parameter = next(model.parameters())
        with torch.no_grad():
            model.eval()(example.to(parameter.device))
    finally:
        model.train(mode)
        for handle in handles:
            handle.remove()
    return found
