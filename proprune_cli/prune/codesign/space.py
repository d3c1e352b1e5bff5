"""The sizes that a network may take, and what they cost: soft ones while they are learned, whole ones at the end.

Sizes are those of groups, in channels, behind them those of kernels, in positions of each input channel, and behind
these those of branches, `OPEN` or 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.channels.count import CostTable, Sizes
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.groups import ChannelMap, Kept
from proprune_cli.channels.labels import Ids
from proprune_cli.channels.surgery import all_tensors, cuts_for, shrink
from proprune_cli.errors import InputError
from proprune_cli.modules.copying import copied
from proprune_cli.prune.budget import allowed_sizes
from proprune_cli.prune.codesign.blocks import OPEN, Block, blocks_of
from proprune_cli.prune.codesign.kernels import Kernel, guided_ranks, kernels_of
from proprune_cli.prune.cost import OperationCost
from proprune_cli.prune.goals import Goal, Sought
from proprune_cli.prune.objective import TapModel
from proprune_cli.work.layer import LayerWork, Survivors

Floats = npt.NDArray[np.float64]

CLOSE = 0.985
"""Share of a limit from which on a choice counts as good."""
_TRIES = 5
_ROUNDS, _HARD = 6, 60
"""Rounds of the last choice, and networks that are estimated in full in each."""


@dataclass(frozen=True)
class Chosen:
    """Whole sizes and what they cost.

    Attributes:
        kept: channels of each group that stay. sizes: of the groups and kernels that are learned.
        figures: of the compiled network, by goal.
    """

    kept: dict[int, Ids]
    sizes: tuple[int, ...]
    figures: tuple[float, ...]


class Space:
    """The sizes of one network's groups."""

    def __init__(
        self,
        model: nn.Module,
        channels: ChannelMap,
        sought: Sequence[Sought],
        multiple: int,
        min_keep: float,
        orders: Mapping[int, Ids] | None = None,
        positions: bool = True,
        depth: bool = True,
    ) -> None:
        """``model``: without weights of zero, at full size.

        Args:
            orders: channels of groups, the first kept longest. positions: kernels have sizes too.
            depth: branches may go.

        Raises:
            InputError: nothing can be pruned.
        """
        self.channels, self.sought, self._model = channels, tuple(sought), model
        self.places = tuple(place for place, group in enumerate(channels.groups) if group.prunable)
        if not self.places:
            raise InputError(
                "no group of channels can be pruned",
                where="--objective",
                remedy="exclude less, or take another network",
            )
        groups = [channels.groups[place] for place in self.places]
        self.orders = {p: np.arange(g.channels) for p, g in zip(self.places, groups, strict=True)} | dict(orders or {})
        self.table = CostTable(channels)
        works = self.table.layers(self.table.full)
        engine = any(isinstance(s.model, TapModel) for s in sought)
        self.kernels = kernels_of(channels) if positions and engine else ()
        self.ranks = {kernel.tensor: guided_ranks(kernel) for kernel in self.kernels}
        """Of each input channel's kernel positions, the one that is kept longest first: int64 [in, positions]."""
        self.blocks: tuple[Block, ...] = blocks_of(channels) if depth else ()
        self.scaled = len(self.places) + len(self.kernels)
        """Sizes that are no branches'."""
        numbers = [g.channels for g in groups] + [k.positions for k in self.kernels] + [OPEN] * len(self.blocks)
        self.full = np.array(numbers, dtype=np.float64)
        self.allowed: list[tuple[int, ...]] = []
        for group in groups:
            width = math.gcd(*(m.index.shape[1] for m in group.members if m.maker), multiple)
            self.allowed.append(allowed_sizes(group.channels, multiple // width, min_keep))
        self.allowed += [tuple(range(1, kernel.positions + 1)) for kernel in self.kernels]
        self.allowed += [(0, int(OPEN)) for _ in self.blocks]
        self.least = np.array([sizes[0] for sizes in self.allowed], dtype=np.float64)
        inputs, outputs = self.table.shares()
        self._inputs, self._outputs = torch.from_numpy(inputs), torch.from_numpy(outputs)
        self._base = torch.from_numpy(self.table.full.astype(np.float64))
        self._one = torch.ones(1, dtype=torch.float64)
        self._at = torch.tensor(self.places)
        self._streams = {
            place: [self.places.index(b) for b in group.branches]
            for place, group in enumerate(channels.groups)
            if group.branches and not group.held and all(b in self.places for b in group.branches)
        }
        owner = {layer: place for place, kernel in enumerate(self.kernels) for layer in kernel.layers}
        self._owner = [owner.get(layer) for layer in range(len(works))]
        inside = {layer: place for place, block in enumerate(self.blocks) for layer in block.layers}
        self._block = [inside.get(layer, len(self.blocks)) for layer in range(len(works))]
        self._ones = torch.ones(len(works), dtype=torch.float64)
        self._survivors: dict[tuple[int, int, int, int], Survivors] = {}
        self._soft = [s.model.softened(works) for s in self.sought]
        self._full_cost = [s.model.cost(works) for s in self.sought]
        self._known: dict[tuple[int, ...], tuple[float, ...]] = {}

    # Soft sizes.

    def costs(self, widths: torch.Tensor, temperature: float) -> torch.Tensor:
        """Each goal's figure as a share of the dense network's, [goals], with gradients in ``widths``.

        Args:
            widths: of the learned groups in channels, kernels in positions and branches, float64 [sizes].
            temperature: see `SoftCost`. The lower, the narrower is the range of sizes in which a branch is there in
                part.
        """
        sizes = self._base.index_copy(0, self._at, widths[: len(self.places)])
        for place, branches in self._streams.items():
            sizes = sizes.index_copy(0, torch.tensor([place]), widths[branches].amax(dim=0, keepdim=True))
        sizes = torch.cat([sizes, self._one])
        inputs, outputs = self._inputs @ sizes, self._outputs @ sizes
        # Operations are counted whatever the weights' values; an engine skips taps of zeros.
        taps, present = self._taps(widths), self._present(widths, temperature)
        found = [
            soft(inputs, outputs, taps if isinstance(s.model, TapModel) else self._ones, temperature, present)
            for soft, s in zip(self._soft, self.sought, strict=True)
        ]
        return torch.stack(found) / torch.tensor(self._full_cost, dtype=torch.float64)

    def _taps(self, widths: torch.Tensor) -> torch.Tensor:
        if not self.kernels:
            return self._ones
        kernels = slice(len(self.places), self.scaled)
        shares = torch.cat([widths[kernels] / torch.from_numpy(self.full[kernels]), self._one])
        return shares[[len(self.kernels) if place is None else place for place in self._owner]]

    def _present(self, widths: torch.Tensor, temperature: float) -> torch.Tensor | None:
        """Share of each layer that branches leave of it."""
        if not self.blocks:
            return None
        off = widths[self.scaled :] / OPEN - 0.5
        return torch.cat([(off / max(temperature, 1e-9) + 0.5).clamp(0.0, 1.0), self._one])[self._block]

    def anchor(self, widths: Floats) -> None:
        """Be exact at the allowed sizes next to ``widths``, with all branches there."""
        works = self._works([*self.nearest(widths)[: self.scaled], *[int(OPEN)] * len(self.blocks)])
        for soft in self._soft:
            soft.anchor(works)

    def nearest(self, widths: Floats) -> tuple[int, ...]:
        """Allowed sizes next to ``widths``, the smaller of two equally close."""
        return tuple(
            min(sizes, key=lambda s: (abs(s - w), s)) for sizes, w in zip(self.allowed, widths.tolist(), strict=True)
        )

    # Whole sizes.

    def kept(self, sizes: Sequence[int]) -> dict[int, Ids]:
        """The channels that stay in a network of these sizes; of what goes with a branch, one of each group."""
        found = {p: np.sort(self.orders[p][:size]) for p, size in zip(self.places, sizes, strict=False)}
        for block in self.gone(sizes):
            found |= {place: self.orders[place][:1] for place in block.groups}
        return found

    def gone(self, sizes: Sequence[int]) -> list[Block]:
        """The branches that a network of these sizes lacks."""
        return [block for block, size in zip(self.blocks, sizes[self.scaled :], strict=True) if not size]

    def network(self, sizes: Sequence[int]) -> nn.Module:
        """The network at these sizes."""
        model = copied(self._model)
        tensors = dict(all_tensors(model))
        self.clear(tensors, sizes)
        return shrink(model, cuts_for(self.channels, self.kept(sizes), tensors))

    @torch.no_grad()
    def clear(self, tensors: Mapping[str, torch.Tensor], sizes: Sequence[int]) -> None:
        """Set positions that kernels lose to zero, and what makes the channels of branches that are gone. In place."""
        for kernel, size in zip(self.kernels, sizes[len(self.places) : self.scaled], strict=True):
            gone, weight = torch.from_numpy(self.ranks[kernel.tensor] >= size), tensors[kernel.tensor]
            weight.masked_fill_(gone.reshape(1, *weight.shape[1:]).to(weight.device), 0.0)
        for block in self.gone(sizes):
            for place in block.groups:
                for member in self.channels.groups[place].members:
                    if member.role == "out":
                        tensor = tensors[member.tensor]
                        index = torch.from_numpy(member.index.reshape(-1)).to(tensor.device)
                        tensor.index_fill_(member.dim, index, 0.0)

    def figures(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """Each goal's figure by the cost model, which knows the shapes alone."""
        key = tuple(sizes)
        if key not in self._known:
            works = self._works(key)
            self._known[key] = tuple(s.model.cost(works) for s in self.sought)
        return self._known[key]

    def compiled(self, sizes: Sequence[int]) -> tuple[float, ...]:
        """Each goal's figure of the network at these sizes once it is compiled."""
        network = self.network(sizes)
        return tuple(s.compiled(network) for s in self.sought)

    def choose(self, widths: Floats) -> Chosen:
        """Allowed sizes next to ``widths`` with which the compiled network is as near below its limits as can be.

        Without limits they are the nearest ones.
        """
        limits = [(i, s.limit) for i, s in enumerate(self.sought) if s.limit is not None]
        if not limits:
            sizes = self.nearest(widths)
            return Chosen(self.kept(sizes), sizes, self.compiled(sizes))
        widths = self._reachable(widths, dict(limits))
        factors = np.ones(len(self.sought))
        best: tuple[float, Chosen] | None = None
        tried: set[tuple[int, ...]] = set()
        for _ in range(_TRIES):
            aims = {i: limit * float(factors[i]) for i, limit in limits}
            sizes = self._fit(widths, aims)
            if sizes in tried:
                break
            tried.add(sizes)
            found = self.compiled(sizes)
            used = max(found[i] / limit for i, limit in limits)
            # Below the limit the fullest, above it the least over.
            rank = used if used <= 1 else -used
            if best is None or rank > best[0]:
                best = rank, Chosen(self.kept(sizes), sizes, found)
            if CLOSE <= used <= 1:
                break
            shapes = self.figures(sizes)
            for i, limit in limits:
                factors[i] = min(max(shapes[i] / found[i] * (0.999 if found[i] > limit else 1.0), 0.5), 1.5)
        if best is None:
            raise AssertionError("something was tried")
        if best[0] < 0:
            sizes = tuple(int(s) for s in self.least)  # without any branch
            found = self.compiled(sizes)
            used = max(found[i] / limit for i, limit in limits)
            if used <= 1 or -used > best[0]:
                return Chosen(self.kept(sizes), sizes, found)
        return best[1]

    def _reachable(self, widths: Floats, aims: Mapping[int, float]) -> Floats:
        """The same with so many branches gone that the least sizes of all else are within ``aims``."""
        widths = widths.copy()
        while True:
            least = [*self.least[: self.scaled], *self.nearest(widths)[self.scaled :]]
            found = self.figures([int(size) for size in least])
            there = [place for place in range(self.scaled, len(least)) if least[place]]
            if not there or all(found[i] <= aim for i, aim in aims.items()):
                return widths
            widths[min(there, key=lambda place: widths[place])] = 0.0

    def _scale(self, widths: Floats, factor: float) -> Floats:
        """Sizes times a factor; branches stay as they are."""
        scaled = np.minimum(widths * factor, self.full)
        scaled[self.scaled :] = widths[self.scaled :]
        return scaled

    def _fit(self, widths: Floats, aims: Mapping[int, float]) -> tuple[int, ...]:
        """Allowed sizes near a multiple of ``widths`` whose shapes cost as nearly ``aims`` as any that was met."""

        def used(sizes: tuple[int, ...]) -> float:
            found = self.figures(sizes)
            return max(found[i] / aim for i, aim in aims.items())

        low, high, base = 0.0, 4.0, self.nearest(self._scale(widths, 0.0))
        for _ in range(24):
            middle = (low + high) / 2
            sizes = self.nearest(self._scale(widths, middle))
            if used(sizes) <= 1:
                low, base = middle, sizes
            else:
                high = middle
        wanted = np.clip(widths * max(low, 1e-3), self.least, self.full)[: self.scaled]

        def far(sizes: tuple[int, ...]) -> float:
            return float((np.log(np.array(sizes[: self.scaled]) / wanted) ** 2).sum())

        best, reached = base, used(base)
        for _ in range(_ROUNDS):
            if CLOSE <= reached <= 1:
                break
            again = best
            # The expert model is exact at the sizes that are changed, and tells cheaply which of the others to look at.
            self.anchor(np.array(again, dtype=np.float64))
            told = self._soft_share(again, aims)
            better = min(CLOSE, (reached + 1) / 2) - 0.01
            shares = [(self._soft_share(sizes, aims) * reached / told, sizes) for sizes in self._neighbours(again)]
            near = sorted((far(sizes), sizes) for share, sizes in shares if better <= share <= 1.02)
            if not near:  # no step is as long as that
                near = [(-share, sizes) for share, sizes in sorted(shares, reverse=True) if reached < share <= 1.0]
            for _, sizes in near[:_HARD]:
                share = used(sizes)
                if share <= 1 and (share > reached or reached > 1):
                    best, reached = sizes, share
                    if share >= better:
                        break
            if best == again:
                break
        return best

    def _soft_share(self, sizes: tuple[int, ...], aims: Mapping[int, float]) -> float:
        with torch.no_grad():
            shares = self.costs(torch.tensor(sizes, dtype=torch.float64), 0.0)
        return max(float(shares[i]) * self._full_cost[i] / aim for i, aim in aims.items())

    def _neighbours(self, sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Sizes of which one or two differ by one or two steps."""
        steps: list[list[int]] = []
        for size, allowed in zip(sizes[: self.scaled], self.allowed, strict=False):
            at = allowed.index(size)
            steps.append([allowed[k] for k in range(max(0, at - 2), min(len(allowed), at + 3)) if k != at])
        found: list[tuple[int, ...]] = []
        for place, others in enumerate(steps):
            found += [(*sizes[:place], other, *sizes[place + 1 :]) for other in others]
        for (a, first), (b, second) in itertools.combinations(enumerate(steps), 2):
            for x in first:
                for y in second:
                    changed = list(sizes)
                    changed[a], changed[b] = x, y
                    found.append(tuple(changed))
        return found[:6000]

    def _works(self, sizes: Sequence[int]) -> list[LayerWork]:
        alive = self.channels.survivors(self.kept(sizes))
        counts: Sizes = np.array([int(a.sum()) for a in alive], dtype=np.int64)
        for block in self.gone(sizes):
            counts[list(block.groups)] = 0
        works = self.table.layers(counts)
        for kernel, size in zip(self.kernels, sizes[len(self.places) : self.scaled], strict=True):
            for layer in kernel.layers:
                if size < kernel.positions and works[layer].out_channels:
                    works[layer] = replace(works[layer], survivors=self._surviving(works[layer], kernel, size))
        return works

    def _surviving(self, work: LayerWork, kernel: Kernel, size: int) -> Survivors:
        """As many positions of each channel, in a pattern that stands for any."""
        key = work.out_channels, work.in_channels, kernel.positions, size
        if key not in self._survivors:
            channel = np.arange(work.in_channels)[:, None]
            open_ = (np.arange(kernel.positions) - channel) % kernel.positions < size
            self._survivors[key] = Survivors(np.broadcast_to(open_, (work.out_channels, *open_.shape)))
        return self._survivors[key]


def operations_sought(goal: Goal, dense: nn.Module, example: torch.Tensor) -> Sought:
    """A goal of operations, which are counted and not predicted."""

    def counted(network: nn.Module) -> float:
        table = CostTable(analyse(network, example))
        return float(table.macs(table.full))

    figure = counted(dense)
    return Sought(goal, OperationCost(), figure, goal.limit(figure), counted)


def importance_orders(channels: ChannelMap, scores: Mapping[int, Floats]) -> Kept:
    """Orders of groups by falling scores; branches of a stream in the order of the sum of theirs, which they share."""
    orders: dict[int, Ids] = {}
    for place, of in scores.items():
        group = channels.groups[place]
        worth = of
        if group.stream is not None and group.feeds is not None:
            total = np.zeros(channels.groups[group.stream].channels)
            for branch in channels.groups[group.stream].branches:
                feeds = channels.groups[branch].feeds
                if branch in scores and feeds is not None:
                    total[feeds] += scores[branch]
            worth = total[group.feeds]
        orders[place] = np.argsort(-worth, kind="stable")
    return orders
