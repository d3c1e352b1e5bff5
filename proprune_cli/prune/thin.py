"""The rival of every pruned network: the same architecture, plainly narrower, at no more of what was paid for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from proprune_cli.channels.count import CostTable
from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.surgery import Cuts, all_tensors, cuts_for
from proprune_cli.errors import InputError
from proprune_cli.modules.copying import without_zeros
from proprune_cli.prune.codesign.space import Space
from proprune_cli.prune.methods import method_named
from proprune_cli.prune.options import WHOLE, Budget
from proprune_cli.prune.phases import Phases
from proprune_cli.prune.shrinking import prune_network
from proprune_cli.prune.verdict import judge


@dataclass(frozen=True)
class Narrow:
    """A narrower network, its cuts, multiply-accumulates and parameters."""

    model: nn.Module
    cuts: Cuts
    macs: int
    params: int


def with_operations(phases: Phases, template: nn.Module, share: float) -> Narrow:
    """``template``, narrower, with at most this share of its operations.

    Raises:
        InputError: none of the allowed sizes has as few.
    """
    options = phases.options
    target = Budget("ops", max(1 - WHOLE, min(share, WHOLE)))
    plan = replace(options, method="random", budget=target, scope="layer", residual="coupled")
    if method_named(options.method)[0].finish != "cut":
        # Without a budget, nothing says that multiples and floors leave a network as small as this.
        plan = replace(plan, multiple=1, min_keep=0.0)
    narrow = prune_network(template, phases.data.in_channels, phases.data.size, plan)
    if not judge(target, narrow.achieved, narrow.least).met:
        raise InputError(
            f"none of the allowed has as few operations, {narrow.macs:,}",
            where="thin network",
            remedy="lower --multiple or --min-keep",
        )
    return Narrow(narrow.model, narrow.cuts, narrow.macs, narrow.params)


def as_fast(phases: Phases, template: nn.Module, pruned: nn.Module) -> Narrow:
    """``template``, narrower evenly, which compiled costs no more than ``pruned`` does in any goal, and hardly less.

    Sizes are multiples as for the pruned network, and each other's neighbours are tried, so that what granularity
    leaves of the budget is used.

    Raises:
        InputError: none of the allowed sizes costs as little.
    """
    options = phases.options
    plain = without_zeros(template)
    sought = [replace(s, limit=s.compiled(pruned)) for s in phases.sought]
    channels = analyse(plain, phases.example, options.exclude, f"--model {options.model}", "coupled")
    space = Space(plain, channels, sought, options.multiple, options.min_keep, positions=False, depth=False)
    chosen = space.choose(space.full)
    if any(figure > s.limit for figure, s in zip(chosen.figures, sought, strict=True) if s.limit is not None):
        raise InputError(
            "none of the allowed costs as little", where="thin network", remedy="lower --multiple or --min-keep"
        )
    cuts = cuts_for(channels, chosen.kept, dict(all_tensors(plain)))
    model = space.network(chosen.sizes)
    table = CostTable(analyse(model, phases.example))
    return Narrow(model, cuts, table.macs(table.full), table.params(table.full))
