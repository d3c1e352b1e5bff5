"""One pruning step: find the groups, score them, meet the budget, cut, and verify."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from proprune_cli.channels.count import CostTable, Sizes
from proprune_cli.channels.dependencies import analyse, map_channels
from proprune_cli.channels.groups import ChannelMap
from proprune_cli.channels.labels import Ids, Reshapes
from proprune_cli.channels.shrunk import Shrunk, group_rows, layer_rows
from proprune_cli.channels.surgery import (
    FixedError,
    RearrangedError,
    all_tensors,
    check_training,
    cuts_for,
    prove,
    shrink,
)
from proprune_cli.channels.trace import Traced, trace
from proprune_cli.errors import InputError
from proprune_cli.modules.probe import at_another_size, example_input, probes
from proprune_cli.modules.restored import restored
from proprune_cli.prune.budget import Candidate, allocate, allowed_sizes, as_share, normalised, removed, smallest
from proprune_cli.prune.cost import figure
from proprune_cli.prune.methods import Context, method_named
from proprune_cli.prune.methods.common.base import Tensors
from proprune_cli.prune.objective import CostModel
from proprune_cli.prune.options import PREDICTED, PruneOptions
from proprune_cli.prune.saliency import saliency_of_gradients
from proprune_cli.prune.streams import StreamSizes, aligned_branches
from proprune_cli.prune.verdict import judge

Floors = Callable[[str, int], float]
"""Name of a group and its channels → how many it keeps at least."""


def prune_network(
    model: nn.Module,
    in_channels: int,
    size: tuple[int, int],
    options: PruneOptions,
    cost_model: CostModel | None = None,
    saliency: Tensors | None = None,
    floors: Floors | None = None,
) -> Shrunk:
    """Prune ``model`` as ``options`` say; the model itself is left as it is, its mode and caches too (`restored`).

    Where no allowed network keeps to the budget it is the smallest: `proprune_cli.prune.verdict` judges.

    Where the result is wrong because the network's code names a number of features (``x.view(-1, 400)``), it is
    pruned again with the channels that pass through that reshape or split left alone; where the code stops with fewer
    channels of a layer (``assert x.shape[1] == 16``), with that layer left alone. Notes say so.

    Args:
        saliency: for methods that ask for it, see `proprune_cli.prune.saliency`.
        floors: what each group keeps at least, where that is not ``options.min_keep`` of its channels.

    Raises:
        InputError: nothing can be pruned, or the method or an excluded module does not exist.
        SurgeryError: the pruned network does not compute what the masked network computes.
        UnsupportedError: the network cannot be traced.
    """
    if options.budget.kind in ("cost", *PREDICTED) and cost_model is None:
        raise InputError(
            "the budget counts a cost that no model predicts", where="--budget", remedy="use ops=, params= or ratio="
        )
    options = resolved(model, in_channels, size, options, cost_model)
    names = dict(model.named_modules())
    for name in options.exclude:
        if name not in names:
            raise InputError(
                f"the network has no module {name!r}",
                where="--exclude",
                remedy="it has " + ", ".join([n for n, m in names.items() if n and not list(m.children())][:12]),
            )
    example = example_input(in_channels, size)
    where = f"--model {options.model}"
    with restored(model):
        model.eval()
        return _prune(model, trace(model, example, where), example, options, cost_model, saliency, floors, where)


def _prune(
    model: nn.Module,
    traced: Traced,
    example: torch.Tensor,
    options: PruneOptions,
    cost_model: CostModel | None,
    saliency: Tensors | None,
    floors: Floors | None,
    where: str,
) -> Shrunk:
    choices: dict[str, Reshapes] = {}
    held: dict[str, str] = {}
    """Modules whose channels stay because code does not run with fewer → why."""
    while True:
        channels = map_channels(model, traced, options.exclude, options.streams, choices, held)
        fixed = tuple(name for name, choice in choices.items() if choice == "fixed")
        notes = [f"channels before a reshape or split with fixed sizes were left alone ({name})" for name in fixed]
        notes += [f"the channels of {name} were left alone: {why}" for name, why in held.items()]
        try:
            shrunk = _attempt(model, channels, example, options, cost_model, saliency, floors, tuple(notes), fixed)
        except RearrangedError as error:
            blamed = error.operator
            choice: Reshapes = "outer" if blamed.fork and blamed.name not in choices else "fixed"
            choices[blamed.name] = choice
            if blamed.fork or blamed.op.startswith("split"):
                # Code that names numbers does so in every block; finding out one by one would take long.
                same = [r.name for r in channels.reshapes if (r.op, r.fork) == (blamed.op, blamed.fork)]
                choices |= {name: choice for name in same if choice == "fixed" or name not in choices}
            continue
        except FixedError as error:
            if held.keys() >= set(error.layers):
                raise
            held |= dict.fromkeys(error.layers, f"with fewer the network's code does not run: {error.said}")
            continue
        if idle := [name for name in traced.idle() if not name.endswith("num_batches_tracked")]:
            check_training(model, shrunk.model, idle, example, where)
        return shrunk


def prune_module(
    module: nn.Module, shape: tuple[int, int, int], options: PruneOptions, cost_model: CostModel | None
) -> Shrunk:
    """`prune_network`, with saliency from the gradients that the parameters have.

    Args:
        shape: channels, height and width of an image.

    Raises:
        BudgetError: no allowed network keeps to the budget.
        InputError: as `prune_network`, or the method weighs gradients and there are none.
    """
    method, own = method_named(options.method)
    weighed = None if method.saliency is None else saliency_of_gradients(module, method.saliency(own))
    options = resolved(module, shape[0], shape[1:], options, cost_model)
    shrunk = prune_network(module, shape[0], shape[1:], options, cost_model, weighed)
    verdict = judge(options.budget, shrunk.achieved, shrunk.least)
    if not verdict.met:
        raise verdict.impossible(options.multiple, options.min_keep)
    return replace(shrunk, notes=(*shrunk.notes, verdict.note)) if verdict.note else shrunk


def resolved(
    dense: nn.Module, in_channels: int, size: tuple[int, int], options: PruneOptions, cost_model: CostModel | None
) -> PruneOptions:
    """``options`` with an absolute budget turned into a share of what is predicted for ``dense``.

    Raises:
        InputError: the dense network is within the budget.
    """
    if not options.budget.absolute or cost_model is None:
        return options
    table = CostTable(analyse(dense, example_input(in_channels, size), (), f"--model {options.model}"))
    full = figure(table, options.budget.kind, table.full, cost_model)
    return replace(options, budget=as_share(options.budget, full, cost_model.unit))


@dataclass(frozen=True)
class Choice:
    """Which channels stay."""

    table: CostTable
    sizes: Sizes
    """Channels of each group, streams of free branches included."""
    kept: dict[int, Ids]
    """Place of a group → its channels that stay."""
    unscored: frozenset[int]
    achieved: float
    """What the budget counts: the share removed (ratio) or the share that remains."""
    least: float
    """The same of the smallest network that is allowed."""


def choose(
    channels: ChannelMap,
    tensors: Tensors,
    options: PruneOptions,
    cost_model: CostModel | None = None,
    saliency: Tensors | None = None,
    floors: Floors | None = None,
) -> Choice:
    """The channels that stay when ``options``' method and budget prune a network with these parameters and buffers.

    Raises:
        InputError: nothing can be pruned.
    """
    table = CostTable(channels)
    context = Context(tensors, np.random.default_rng([options.seed, 7]), saliency)
    scored, unscored = _scores(channels, context, options, floors)
    scored = aligned_branches(channels, scored, options.multiple)
    streams = StreamSizes(channels, scored)

    def cost(sizes: Sizes) -> float:
        return figure(table, options.budget.kind, streams.complete(sizes), cost_model)

    def achieved(sizes: Sizes) -> float:
        return removed(scored, sizes) if options.budget.kind == "ratio" else cost(sizes) / cost(table.full)

    sizes = allocate(scored, table.full, options.budget, options.scope, cost)
    kept = {c.position: np.sort(c.ranking()[: int(sizes[c.position])]) for c in scored}
    least = achieved(smallest(scored, table.full))
    return Choice(table, streams.complete(sizes), kept, unscored, achieved(sizes), least)


def _attempt(
    model: nn.Module,
    channels: ChannelMap,
    example: torch.Tensor,
    options: PruneOptions,
    cost_model: CostModel | None,
    saliency: Tensors | None,
    floors: Floors | None,
    notes: tuple[str, ...],
    settled: Collection[str],
) -> Shrunk:
    tensors = dict(all_tensors(model))
    choice = choose(channels, tensors, options, cost_model, saliency, floors)
    table, sizes, kept = choice.table, choice.sizes, choice.kept

    cuts = cuts_for(channels, kept, tensors)
    smaller = shrink(model, cuts)
    inputs = probes(example.shape[1], (example.shape[2], example.shape[3]))
    error = prove(model, smaller, channels, kept, inputs, f"--model {options.model}", settled)
    if at_another_size(model, inputs) is None:
        notes = (*notes, "pruned and masked network were compared at one image size: the network runs at no other")
    return Shrunk(
        model=smaller,
        cuts=cuts,
        achieved=choice.achieved,
        error=error,
        dense_macs=table.macs(table.full),
        macs=table.macs(sizes),
        dense_params=table.params(table.full),
        params=sum(p.numel() for p in smaller.parameters()),
        groups=group_rows(channels, sizes, choice.unscored),
        layers=layer_rows(table, sizes),
        notes=notes,
        least=choice.least,
    )


def _scores(
    channels: ChannelMap, context: Context, options: PruneOptions, floors: Floors | None
) -> tuple[list[Candidate], frozenset[int]]:
    method, _ = method_named(options.method)
    if method.importance is None:
        raise InputError(
            f"{method.name} does not score channels",
            where="--method",
            remedy="use it through proprune prune, or choose an importance such as l1",
        )
    candidates: list[Candidate] = []
    unscored: set[int] = set()
    for position, group in enumerate(channels.groups):
        if not group.prunable:
            continue
        scores = method.importance(group, context)
        if scores is None:
            unscored.add(position)
            continue
        # Where several filters go together (the groups of a convolution), they count towards the multiple.
        width = math.gcd(*(m.index.shape[1] for m in group.members if m.maker), options.multiple)
        share = options.min_keep if floors is None else floors(group.name, group.channels) / group.channels
        sizes = allowed_sizes(group.channels, options.multiple // width, share)
        candidates.append(Candidate(position, normalised(scores), sizes))
    if not candidates:
        why = Counter(r for g in channels.groups for r in g.reasons if not r.startswith("the network's"))
        found = "; ".join(reason for reason, _ in why.most_common(3))
        reason = "none has what the method scores" if unscored else f"each is pinned ({found or 'input and output'})"
        raise InputError(
            f"no group of channels can be pruned by {options.method!r}: {reason}",
            where=f"--model {options.model}",
            remedy="try --method l1"
            if unscored
            else "where code names numbers of channels, let it take them from shapes (x.shape[1]); methods that set "
            "weights to zero and remove none need no such group (docs/methods.md)",
        )
    return candidates, frozenset(unscored)
