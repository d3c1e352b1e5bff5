"""Knapsack: keep the weights that are worth what they cost in several resources at once (Ramhorst et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from proprune_cli.channels.dependencies import analyse
from proprune_cli.errors import BudgetError, InputError
from proprune_cli.prune.gradients import gradients
from proprune_cli.prune.knapsack.engine import engine_structures
from proprune_cli.prune.knapsack.solve import Solution, best_of_each_layer, over, solve
from proprune_cli.prune.knapsack.steps import Chosen, KnapsackSteps
from proprune_cli.prune.knapsack.structures import Floats, Structures, norms, taylor
from proprune_cli.prune.knapsack.unrolled import DSP_BITS, unrolled_structures
from proprune_cli.prune.methods.common.base import Job, Method, Training
from proprune_cli.prune.methods.common.kernels import is_depthwise, layers_in_order
from proprune_cli.prune.objective import EngineTaps, TapModel
from proprune_cli.spec.options import option
from proprune_cli.train.task import Task

_BATCHES = 16
"""Batches of held-out images that structures are valued on."""


@dataclass(frozen=True)
class KnapsackOptions:
    """Options of `knapsack`."""

    target: str = option(
        "engine",
        "what structures are: `engine`, a tap of our engine; `dsp`, the weights that share a multiplier of an unrolled "
        "design; `bram`, the multipliers that share a word of its block RAM",
        choices=("engine", "dsp", "bram"),
    )
    cycles: float = option(0.5, "engine: share of the taps' cycles that may remain", low=0.0, high=1.0)
    weights: float = option(1.0, "engine: share of the bytes of the weight stream", low=0.0, high=1.0)
    ddr: float = option(1.0, "engine: share of all bytes to and from memory, tensors included", low=0.0, high=1.0)
    dsp: float = option(0.5, "dsp, bram: share of the multipliers that may remain", low=0.0, high=1.0)
    bram: float = option(1.0, "dsp, bram: share of the block RAM that may remain", low=0.0, high=1.0)
    reuse: int = option(4, "dsp, bram: reuse factor, weights per multiplier", low=1)
    bits: int = option(16, "dsp, bram: width of a weight", low=2, high=36)
    value: str = option(
        "l2",
        "what a structure is worth: its norm over its layer's largest, or the loss",
        choices=("l1", "l2", "taylor"),
    )
    steps: int = option(
        1,
        "steps in which the budget is tightened, each fine-tuned for its share of epochs; several at a constant rate",
        low=1,
    )
    rtol: float = option(
        0.0,
        "a step counts while the validation accuracy is at least this share of the dense network's",
        low=0.0,
        high=1.0,
    )


def structures_of(job: Job, options: KnapsackOptions) -> Structures:
    """Structures of the network's convolutions (depthwise ones left out) and fully connected layers.

    Raises:
        InputError: the network has no such layer, or narrow weights use no multiplier.
    """
    layers = [
        (name, layer)
        for name, layer in layers_in_order(job.model, job.example)
        if (isinstance(layer, nn.Linear) or not is_depthwise(layer))
        and not any(name == e or name.startswith(f"{e}.") for e in job.options.exclude)
    ]
    if not layers:
        raise InputError(
            "the network has no convolution or fully connected layer to choose from",
            where="--method knapsack",
            remedy="choose another method; depthwise layers are pruned by channels",
        )
    if options.target == "engine":
        taps = job.cost_model.taps if isinstance(job.cost_model, TapModel) else EngineTaps()
        return engine_structures(layers, analyse(job.model, job.example), taps)
    if options.bits < DSP_BITS and (options.target == "dsp" or options.dsp < 1):
        raise InputError(
            f"weights of {options.bits} bits are multiplied in look-up tables, which takes no DSP",
            where=f"--method knapsack?bits={options.bits}",
            remedy=f"give {DSP_BITS} bits or more, or target=bram&dsp=1&bram=0.5",
        )
    return unrolled_structures(layers, options.reuse, options.bits, options.target == "bram")


def limits(structures: Structures, options: KnapsackOptions, progress: float = 1.0) -> Floats:
    """What may remain of each resource, float64 [resources], when ``progress`` (0 … 1) of the way is gone.

    Raises:
        BudgetError: what no choice changes is over the budget already.
    """
    total, fixed = structures.totals(), structures.fixed
    shares = np.array([float(getattr(options, name)) for name in structures.resources])
    shares = 1 - (1 - shares) * progress
    for name, share, all_of_it, always in zip(structures.resources, shares, total, fixed, strict=True):
        if share * all_of_it < always:
            raise BudgetError(
                f"{always / all_of_it:.1%} of the dense network's {name} belong to its tensors, which stay",
                where=f"--method knapsack?{name}={share:g}",
                remedy=f"give {name} a share above that, or prune channels with another method",
            )
    return shares * total - fixed


def choose(job: Job, model: nn.Module, structures: Structures, options: KnapsackOptions, progress: float) -> Solution:
    """The structures of ``model`` that stay.

    Raises:
        BudgetError: the budget cannot be met.
    """
    parameters = dict(model.named_parameters())
    if options.value == "taylor":
        values = taylor(structures, _products(model, job.task))
    else:
        values = norms(structures, parameters, 1 if options.value == "l1" else 2)
    forced = best_of_each_layer(values, structures.layer_of, job.options.min_keep)
    room, needed, total = limits(structures, options, progress), structures.totals(forced), structures.totals()
    for place in np.flatnonzero(over(needed - structures.fixed, room)):
        name = structures.resources[place]
        raise BudgetError(
            f"the budget {name}={getattr(options, name):g} cannot be met; the least that --min-keep "
            f"{job.options.min_keep:g} allows is {name}={needed[place] / total[place]:.4g}",
            where="--method knapsack",
            remedy=f"give {name} a share above that, or lower --min-keep",
        )
    return solve(values, structures.costs, room, forced)


def _products(model: nn.Module, task: Task) -> list[Mapping[str, torch.Tensor]]:
    """Gradient times weight of every parameter, per batch of the validation images."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1}
    return [
        {name: found[name] * p.detach() if name in found else torch.zeros_like(p) for name, p in named.items()}
        for found in gradients(model, task, named, _BATCHES)
    ]


def _training(job: Job, options: KnapsackOptions) -> Training:
    structures = structures_of(job, options)
    if options.steps > 1:
        # The last step asks for the most: whether it can be met shows before the first is trained.
        choose(job, job.model, structures, options, 1.0)

    def chosen(model: nn.Module, progress: float) -> Chosen:
        solution = choose(job, model, structures, options, progress)
        left, full = structures.totals(solution.keep), structures.totals()
        shares = {name: float(a / b) if b else 1.0 for name, a, b in zip(structures.resources, left, full, strict=True)}
        return Chosen(structures.masks(solution.keep), shares, solution.gap)

    # A rate that falls to 0 would leave the last steps, which prune the most, nothing to learn with.
    train = {"schedule": "constant"} if options.steps > 1 else {}
    return Training([KnapsackSteps(chosen, job.model, job.task, options.steps, options.rtol)], train=train)


METHOD = Method(
    name="knapsack",
    title="Keeps the most valuable set of structures that a budget of several resources can pay for: cycles, weight "
    "bytes and memory traffic of our engine, or DSPs and block RAM of a design with one circuit per layer.",
    source="Ramhorst et al. 2023, FPGA Resource-aware Structured Pruning for Real-Time Neural Networks (arXiv "
    "2308.05170): the multi-dimensional knapsack, and the loop of steps while accuracy holds",
    use="When channels are too coarse: any layer thins out to whole taps, and every tap that goes is time.",
    training=_training,
    finish="keep",
    instead="shares of resources are its own options, for example --method 'knapsack?cycles=0.4&ddr=0.8'",
    options=KnapsackOptions,
)
