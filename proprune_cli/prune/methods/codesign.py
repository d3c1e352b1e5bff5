"""Co-design: shape and weights learn together, with the predicted cost in the loss; one training, no second one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.surgery import all_tensors
from proprune_cli.modules.copying import copied, without_zeros
from proprune_cli.prune.codesign.gates import Bank, Layout, install, remove
from proprune_cli.prune.codesign.search import Search, SearchOptions
from proprune_cli.prune.codesign.space import Floats, Space, importance_orders, operations_sought
from proprune_cli.prune.goals import DEFAULT, read_objective
from proprune_cli.prune.methods.common.base import Job, Method, Training, filter_norms
from proprune_cli.spec.options import option


@dataclass(frozen=True)
class CodesignOptions:
    """Options of `codesign`."""

    search: float = option(
        0.1,
        "share of the epochs in which sizes are learned; for the rest the smaller network is trained, and `--freeze` "
        "acts",
        low=0.05,
        high=1.0,
    )
    pace: float = option(
        0.3,
        "how far the loss may move sizes in all, in units of the logarithm of a width; 0: all fall alike",
        low=0.0,
    )
    positions: float = option(
        0.0,
        "how much faster than widths kernels lose positions, each input channel its own, where the objective is of an "
        "engine that skips them; 0: none goes",
        low=0.0,
    )
    depth: float = option(
        1.0, "how much faster than widths the number of branches falls, where they are free; 0: none goes", low=0.0
    )
    noise: float = option(0.1, "share of a group's channels within which gates are drawn at first", low=0.01, high=1.0)


def space_of(job: Job, options: CodesignOptions) -> Space:
    """The sizes that the network may take, and what is sought.

    Raises:
        InputError: nothing can be pruned.
        UnsupportedError: the network cannot be traced.
    """
    where = f"--model {job.options.model}"
    plain = without_zeros(copied(job.model)).cpu().eval()
    channels = analyse(plain, job.example, job.options.exclude, where, job.options.streams)
    sought = job.sought or (operations_sought(read_objective(DEFAULT)[0], plain, job.example),)
    tensors = dict(all_tensors(job.model))
    scores: dict[int, Floats] = {}
    for place, group in enumerate(channels.groups):
        if group.prunable:
            worth = filter_norms(group, tensors, lambda rows: rows.abs().sum(dim=1))
            if worth is not None:
                scores[place] = worth
    orders = importance_orders(channels, scores)
    multiple, least = job.options.multiple, job.options.min_keep
    return Space(plain, channels, sought, multiple, least, orders, options.positions > 0, options.depth > 0)


def _training(job: Job, options: CodesignOptions) -> Training:
    space = space_of(job, options)
    orders = {place: space.orders[place] for place in space.places}
    layout = Layout.of(space.channels, orders, space.kernels, space.blocks)
    open_ = layout.complete(torch.ones(layout.count))
    bank = Bank(open_, open_)
    gated = install(job.model, space.channels, layout, bank, job.example)
    search = Search(space, layout, bank, SearchOptions(options.pace, options.noise, options.positions, options.depth))

    def finalise() -> None:
        # Without a step of training there is nothing to learn sizes from: all groups are made thinner alike.
        chosen = search.chosen or space.choose(space.full)
        remove(job.model, gated)
        tensors = dict(all_tensors(job.model))
        with torch.no_grad():
            for group, alive in zip(space.channels.groups, space.channels.survivors(chosen.kept), strict=True):
                for member in group.members:
                    if member.role == "out" and not alive.all():
                        index = torch.from_numpy(member.index[~alive].reshape(-1)).to(tensors[member.tensor].device)
                        tensors[member.tensor].index_fill_(member.dim, index, 0.0)
            space.clear(tensors, chosen.sizes)

    return Training([search], finalise)


METHOD = Method(
    name="codesign",
    title="Learns the shape of a network together with its weights, in one training, with the predicted latency, "
    "energy or operations in the loss: widths, the kernel positions of each input channel, and which branches of "
    "residual streams there are (unless `--residual coupled`). `--objective` says what it all comes to; "
    "docs/codesign.md compares.",
    source="the gates are nested dropout's (Rippel et al. 2014) with straight-through gradients (Bengio et al. 2013), "
    "the cost in the loss is that of ProxylessNAS (Cai et al. 2019, Eq. 6) and FBNet (Wu et al. 2019), λ is the "
    "multiplier of gradient projection (Rosen 1960), depth goes with width as in EfficientNet (Tan & Le 2019, Eq. 3), "
    "positions by magnitude (Zhu & Gupta 2017) in the pattern of guided pruning (Boukli Hacene et al. 2018)",
    use="When the figure on the board is what counts, and one training is all there is time for.",
    training=_training,
    start="fresh",
    finish="zeroed",
    instead="the objective decides, for example --objective latency=40%",
    options=CodesignOptions,
    objective=True,
    share=lambda options: options.search,
)
