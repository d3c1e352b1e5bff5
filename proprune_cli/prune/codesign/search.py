"""The search: sizes move while weights are trained, along task loss + λ · cost, with λ from a controller.

Sizes are learned as logarithms: group g has width n_g · exp(-a_g). The gradient of the task loss in a comes through
the gates (`gates`), smoothed over steps; that of the logarithm of the predicted cost from the cost model. Both together
give a step, scaled to the same length throughout, so that its sum is what ``pace`` says.

λ is the multiplier with which the step leaves the cost as it is (gradient projection, Rosen 1960), plus what a
controller asks for: all groups shrink by the same factor by as much as the cost is away from where it should be now.
That target falls geometrically from the dense network's cost to the goal (as the sparsity of Zhu & Gupta 2017, "To
prune, or not to prune", rises). Where the loss is indifferent, this is a network that becomes thinner evenly; every
deviation from that is something that the loss asked for. Of several goals the one that is furthest from its limit
counts. A goal with a weight in place of a limit stands in the loss with it, and nothing is projected.

While the sizes move, the ceilings of the cost are smooth and become steeper (see `SoftCost`), and the draw of the gates
becomes narrower. For the last part they stand still, at allowed sizes of which the compiled network keeps to the goal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from proprune_cli.data.batches import derived_seed
from proprune_cli.errors import InputError
from proprune_cli.files.records import value_of
from proprune_cli.modules.restored import restored
from proprune_cli.prune.codesign.blocks import OPEN
from proprune_cli.prune.codesign.gates import Bank, Layout, position_ranks, settle_positions
from proprune_cli.prune.codesign.space import Chosen, Space
from proprune_cli.train.hooks import EpochEnd, HookState, Step, TrainHook, TrainRun

ARRIVE, FREEZE = 0.6, 0.8
"""Shares of the search at which the target is the goal, and at which the sizes stand still."""
_SMOOTH, _SCALE = 0.97, 0.99
"""What the averages of the gradient, and of its square, keep at each step."""
_EVERY, _ANCHOR = 2, 20
"""Steps between predictions, and between those with the loop model."""
_STEEP = 0.25
"""Temperature of the cost's ceilings at the end."""
_ORDER = "order of "
"""Prefix of the names under which a checkpoint has the ranks of positions."""
_SHARP = 60.0
"""How clearly the goal that is furthest away outweighs the others."""


@dataclass(frozen=True)
class SearchOptions:
    """How sizes move.

    Attributes:
        pace: sum of the lengths of all steps, in units of the logarithm of a width.
        noise: share of a group's channels within which gates are drawn at first; narrows to a quarter of it.
        positions, depth: how much faster than widths the logarithms of kernels' sizes, and of the number of branches,
            fall where the loss has no say.
    """

    pace: float
    noise: float
    positions: float
    depth: float


class Search(TrainHook):
    """Moves the sizes of ``space`` while the network with the gates of ``bank`` is trained."""

    name = "codesign"

    def __init__(self, space: Space, layout: Layout, bank: Bank, options: SearchOptions) -> None:
        self._space, self._layout, self._bank, self._options = space, layout, bank, options
        count = space.scaled
        full, least = space.full[:count], space.least[:count]
        self._most = torch.from_numpy(np.log(full / least))
        self._full = torch.from_numpy(full)
        self._speed = torch.ones(count, dtype=torch.float64)
        self._speed[len(space.places) :] = options.positions
        self._closed: list[int] = []
        """Branches that went, in that order."""
        self._a = torch.zeros(count, dtype=torch.float64)
        self._mean = torch.zeros(count, dtype=torch.float64)
        self._square = 0.0
        self._seen = 0
        self._slope = torch.zeros(count, dtype=torch.float64)
        self._pull = torch.zeros(count, dtype=torch.float64)
        self._above = 0.0
        self._multiplier = 0.0
        self._widths = torch.zeros(count)
        self.chosen: Chosen | None = None
        self._history: list[dict[str, Any]] = []
        self._total = self._steps = 1
        self._seed = 0
        self._device = torch.device("cpu")
        self._run: TrainRun
        ranks = [torch.from_numpy(r) for r in layout.all_ranks]
        self._rank = torch.cat(ranks).float() + 0.5
        self._group = torch.cat([torch.full((len(r),), i) for i, r in enumerate(ranks)])
        least = torch.from_numpy(space.least)[self._group]
        self._always = self._rank < least
        limits = [s.limit for s in space.sought]
        self._limited = [i for i, limit in enumerate(limits) if limit is not None]
        self._aims = torch.tensor(
            [math.log(limit / s.dense) for s, limit in zip(space.sought, limits, strict=True) if limit is not None],
            dtype=torch.float64,
        )
        self._weights = torch.tensor([s.goal.weight or 0.0 for s in space.sought], dtype=torch.float64)

    # A hook's life.

    def attach(self, run: TrainRun) -> None:
        """Open the gates of the first step."""
        self._steps, self._total = run.steps, max(2, run.total)
        self._seed = run.seed
        self._device = next(run.model.parameters()).device
        self._run = run
        self._open(0)

    def after_backward(self, step: Step) -> None:
        """Move the sizes."""
        if self.chosen is None and self._widths.grad is not None:
            self._move(step.number)

    def after_step(self, step: Step) -> None:
        """Open the gates of the next step; from some step on, for good."""
        if self.chosen is None and step.number + 1 >= self.freeze_at:
            self._order(position_ranks(self._run.model, self._layout))
            self.chosen = self._space.choose(self.widths)
            self._settle()
        elif self.chosen is None:
            self._drop_branch(step)
            self._open(step.number + 1)

    def end_epoch(self, end: EpochEnd) -> None:
        """Note where the sizes are."""
        sizes = self.widths.round(2).tolist() if self.chosen is None else [float(s) for s in self.chosen.sizes]
        with torch.no_grad():
            now = torch.tensor(sizes, dtype=torch.float64)
            costs = self._space.costs(now, 0.0)
        self._history.append(
            {"epoch": end.epoch, "multiplier": self._multiplier, "sizes": sizes, "costs": costs.tolist()}
        )

    def state(self) -> HookState:
        """Sizes, averages and the choice."""
        tensors = {"a": self._a, "mean": self._mean, "slope": self._slope, "pull": self._pull}
        note: dict[str, Any] = {
            "square": self._square, "seen": self._seen, "above": self._above, "multiplier": self._multiplier,
            "closed": self._closed, "history": self._history,
            "chosen": None if self.chosen is None else list(self.chosen.sizes),
        }  # fmt: skip
        if self.chosen is not None:
            tensors |= {_ORDER + name: torch.from_numpy(ranks) for name, ranks in self._space.ranks.items()}
        return HookState(tensors, note)

    def restore(self, state: HookState) -> None:
        """Go on where an epoch ended."""
        self._a, self._mean = state.tensors["a"].double(), state.tensors["mean"].double()
        self._slope, self._pull = state.tensors["slope"].double(), state.tensors["pull"].double()
        note = state.note
        self._square, self._above = float(note["square"]), float(note["above"])
        self._seen, self._multiplier = int(note["seen"]), float(note["multiplier"])
        self._history = value_of(list[dict[str, Any]], note["history"], "history")
        self._closed = value_of(list[int], note.get("closed", []), "closed")
        sizes = value_of(list[int] | None, note["chosen"], "chosen")
        if sizes is not None:
            space = self._space
            self._order({name: state.tensors[_ORDER + name].long() for name in space.ranks})
            self.chosen = Chosen(space.kept(sizes), tuple(sizes), space.compiled(sizes))
            self._settle()
        else:
            self._open(len(self._history) * self._steps)

    def report(self) -> dict[str, Any]:
        """Sizes by group, what they cost, and how they came about."""
        space, chosen = self._space, self.chosen
        if chosen is None:
            return {"history": self._history}
        kept = {space.channels.groups[place].name: len(chosen.kept[place]) for place in space.places}
        goals = [
            {"goal": s.goal.text, "dense": s.dense, "limit": s.limit, "compiled": figure}
            for s, figure in zip(space.sought, chosen.figures, strict=True)
        ]
        kernels = [kernel.tensor.removesuffix(".weight") for kernel in space.kernels]
        return {
            "sizes": kept,
            "positions": dict(zip(kernels, chosen.sizes[len(space.places) : space.scaled], strict=True)),
            "gone": [block.name for block in space.gone(chosen.sizes)],
            "goals": goals,
            "history": self._history,
        }

    @property
    def freeze_at(self) -> int:
        """Step from which on the sizes stand still."""
        return min(self._total - 1, max(1, round(FREEZE * self._total)))

    @property
    def widths(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Of the learned groups in channels, and of kernels in positions, and of branches: float64 [sizes]."""
        return np.concatenate([(self._full * torch.exp(-self._a)).numpy(), self._branches()])

    def _branches(self, without: int | None = None) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Sizes of branches: `OPEN`, or 0 where one has gone."""
        sizes = np.full(len(self._space.blocks), OPEN)
        sizes[self._closed if without is None else [*self._closed, without]] = 0.0
        return sizes

    # Gates.

    def _open(self, number: int) -> None:
        """Draw the gates of step ``number``, from seeds of its own."""
        progress = number / self._total
        spread = self._options.noise * max(0.25, 1 - progress / FREEZE)
        tau = (torch.from_numpy(self._space.full).float() * spread).clamp(min=0.5)
        rng = np.random.default_rng(derived_seed(self._seed, "codesign", number))
        noise = torch.zeros(len(tau))  # branches are there or not
        noise[: len(self._a)] = torch.from_numpy(rng.logistic(size=len(self._a))).float()
        self._widths = torch.from_numpy(self.widths).float().requires_grad_(True)
        drawn = self._widths.detach() + tau * noise
        chance = torch.sigmoid((self._widths[self._group] - self._rank) / tau[self._group])
        hard = (drawn[self._group] > self._rank) | self._always
        gates = torch.where(self._always, 1.0, hard + chance - chance.detach())
        settled = (self._widths.detach()[self._group] > self._rank) | self._always
        self._bank.drawn = self._layout.complete(gates).to(self._device)
        self._bank.settled = self._layout.complete(settled.float()).to(self._device)

    def _order(self, ranks: dict[str, torch.Tensor]) -> None:
        """Keep to these ranks of positions."""
        settle_positions(self._run.model, ranks)
        self._space.ranks = {name: order.cpu().numpy() for name, order in ranks.items()}

    def _drop_branch(self, step: Step) -> None:
        """Close the branch that costs most for what it does, as soon as the network is that much smaller.

        The number of branches falls with the other sizes, as in compound scaling (Tan & Le 2019, Eq. 3: depth 1.2 for
        width 1.1, on the way up). What a branch does is seen on the images of the step: the loss without it.
        """
        blocks = self._space.blocks
        there = [place for place in range(len(blocks)) if place not in self._closed]
        smaller = float((self._a / self._speed.clamp(min=1e-9)).mean())
        if len(there) <= len(blocks) * math.exp(-self._options.depth * smaller) + 0.5:
            return
        run, worth = self._run, list[float]()
        with restored(run.model), torch.no_grad():
            run.model.train()
            cost, loss = self._with_branches(step, None)
            for place in there:
                cheaper, worse = self._with_branches(step, place)
                worth.append((worse - loss) / max(cost - cheaper, 1e-9))
        self._closed.append(there[int(np.argmin(worth))])

    def _with_branches(self, step: Step, without: int | None) -> tuple[float, float]:
        """Largest predicted share of a goal, and the loss on a step's images, without another branch."""
        widths = torch.from_numpy(np.concatenate([self.widths[: len(self._a)], self._branches(without)]))
        settled = (widths[self._group] > self._rank) | self._always
        self._bank.drawn = self._layout.complete(settled.float()).to(self._device)
        outputs = self._run.model(step.images)
        loss = self._run.task.loss(outputs, step.labels, self._run.options.label_smoothing)
        return float(self._space.costs(widths, 0.0).max()), float(loss)

    def _settle(self) -> None:
        """Open the gates of what was chosen, and no others."""
        if self.chosen is None:
            raise AssertionError("sizes were chosen")
        sizes = torch.tensor(self.chosen.sizes)[self._group]
        settled = self._layout.complete((self._rank < sizes).float()).to(self._device)
        self._bank.drawn = self._bank.settled = settled

    # Steps.

    def _move(self, number: int) -> None:
        if self._widths.grad is None:
            raise AssertionError("gates have gradients")
        count = len(self._a)
        gradient = -torch.from_numpy(self.widths[:count]) * self._widths.grad[:count].cpu().double()
        if not bool(torch.isfinite(gradient).all()):
            return  # the loss is not a number either, which the loop says at the end of the epoch
        self._mean = _SMOOTH * self._mean + (1 - _SMOOTH) * gradient
        self._square = _SCALE * self._square + (1 - _SCALE) * float(gradient.square().mean())
        self._seen += 1
        if number % _EVERY == 0 or number % self._steps == 0:
            self._predict(number)
        mean = self._mean / (1 - _SMOOTH**self._seen)
        scale = math.sqrt(self._square / (1 - _SCALE**self._seen)) + 1e-12
        length = self._options.pace / (FREEZE * self._total)
        slope, inside = self._slope, self._free()
        if self._limited:
            # Along the surface of equal cost, as far as sizes can still move.
            within = slope * inside
            norm = float(within @ within)
            self._multiplier = -float(mean @ within) / norm if norm > 0 else 0.0
            towards = -(mean + self._multiplier * slope) * inside
            moved = length * towards / scale
            steep = -float((within * self._speed).sum())
            shift = self._above_target(number) / steep if steep > 1e-9 else 0.0
            moved = moved + min(max(shift, -0.02), 0.1) * inside * self._speed
        else:
            moved = -length * (mean + self._pull) / scale
        self._a = (self._a + moved).clamp(min=0.0).minimum(self._most)

    def _free(self) -> torch.Tensor:
        """1 where a size can move both ways, else 0; where none can: all."""
        free = (self._a > 1e-6) & (self._a < self._most - 1e-6)
        edge = (self._a <= 1e-6) & (self._above > 0)
        free = free | edge
        return (free if bool(free.any()) else torch.ones_like(free)).double()

    def _above_target(self, number: int) -> float:
        """The logarithm of the cost over where it should be now, which at first is the dense network's."""
        left = max(0.0, 1.0 - number / (ARRIVE * self._total))
        return self._above + left * float(self._aims.min())

    def _predict(self, number: int) -> None:
        """Cost, and its slopes in the logarithms of the sizes.

        Raises:
            InputError: it is no number.
        """
        space = self._space
        if number % _ANCHOR == 0 or number % self._steps == 0:
            space.anchor(self.widths)
        progress = min(1.0, number / (ARRIVE * self._total))
        a = self._a.clone().requires_grad_(True)
        sizes = torch.cat([self._full * torch.exp(-a), torch.from_numpy(self._branches())])
        costs = space.costs(sizes, 1 - (1 - _STEEP) * progress)
        bad = [s.goal for s, cost in zip(space.sought, costs.tolist(), strict=True) if not math.isfinite(cost)]
        if bad:
            raise InputError(
                f"the predicted {bad[0].kind} is no number at the sizes of step {number + 1}",
                where=f"--objective {bad[0].text}",
                remedy="this is a fault of the cost model; another --array or --board may help",
            )
        self._pull = torch.zeros_like(self._a)
        if bool(self._weights.any()):
            (pull,) = torch.autograd.grad(costs @ self._weights, a, retain_graph=True)
            self._pull = pull.detach()
        if self._limited:
            # Over the limit by that factor, as a logarithm.
            over = costs[self._limited].log() - self._aims
            worst = torch.logsumexp(_SHARP * over, 0) / _SHARP - math.log(len(self._limited)) / _SHARP
            (slope,) = torch.autograd.grad(worst, a)
            self._slope, self._above = slope.detach(), float(worst.detach())
