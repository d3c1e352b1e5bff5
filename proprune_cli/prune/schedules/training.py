"""During training: the method acts while the network learns, and what it left over goes at the end."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from proprune_cli.channels.dependencies import analyse
from proprune_cli.channels.shrunk import Shrunk, untouched
from proprune_cli.channels.surgery import all_tensors
from proprune_cli.channels.zeroed import remove_zeroed
from proprune_cli.prune.codesign.kernels import kept_weights
from proprune_cli.prune.methods import Training, method_named
from proprune_cli.prune.options import PruneOptions
from proprune_cli.prune.phases import Network, Phases, removal_key
from proprune_cli.prune.schedules.base import Fresh, Outcome, freeze_key
from proprune_cli.train.freezing import freezing_hooks
from proprune_cli.train.hooks import TrainHook
from proprune_cli.train.masks import Masks

_SEARCH = 3
"""Version of how shapes are searched: a checkpoint of another says nothing to this one."""


def during_training(phases: Phases, start: Fresh) -> Outcome:
    """Train by the method: on from the dense network for the epochs of fine-tuning, or afresh for those of both."""
    options = phases.options
    method, own = method_named(options.method)
    fresh = starts_fresh(options)
    model = start.untrained() if fresh else start.dense.model
    if not fresh:
        # The dense network is kept for comparison.
        model = start.untrained()
        model.load_state_dict(start.dense.model.state_dict())

    def shape(network: nn.Module) -> Training:
        training = phases.by_method(network, epochs)
        # Gates are no layer's own weights, which freezing looks at: it acts on what is left after the cut.
        freezing = [] if method.objective else freezing_hooks(options.freeze)
        return replace(training, hooks=[*training.hooks, *freezing])

    total = options.tuning_epochs + (options.dense_epochs if fresh else 0)
    share = 1.0 if method.share is None else method.share(own)
    epochs = total * min(share, 1.0)
    peak = phases.peak if fresh else phases.tuning_peak
    trained = phases.train(
        "regularised",
        model,
        {},
        epochs=epochs,
        peak=peak,
        label=f"{method.name} training",
        size=(0, 0),  # the channel map gives them with the next step
        shape=shape,
        key={**removal_key(options), **freeze_key(options), **({"search": _SEARCH} if method.objective else {})},
        after=total - epochs,
    )
    where = f"--model {options.model}"
    if method.finish == "cut":
        cut = phases.cut("prune", trained.model, options)
    elif method.finish == "zeroed":
        cut = phases.reduce(
            "prune",
            trained.model,
            {"finish": "zeroed", "residual": options.streams},
            lambda: remove_zeroed(trained.model, phases.example, where, options.streams),
        )
    else:
        cut = phases.reduce(
            "prune", trained.model, {"finish": "keep"}, lambda: untouched(trained.model, phases.example, where)
        )
    shrunk = cut.shrunk
    tuned = Network(shrunk.model, shrunk.cuts, cut.figures, trained.report)
    if total > epochs:
        tuned = phases.train(
            "finetune",
            shrunk.model,
            shrunk.cuts,
            epochs=total - epochs,
            peak=peak,
            label="the rest of the training",
            size=(shrunk.macs, shrunk.params),
            shape=lambda network: Training([*_masks(network, phases), *freezing_hooks(options.freeze)]),
            key=freeze_key(options),
            before=epochs,
        )
        tuned = replace(tuned, report={**trained.report, **tuned.report})
    kept = method.finish == "keep"
    if kept:
        # No channel went: what the engine saves are the weights that are zero.
        shrunk = replace(shrunk, achieved=cut.figures.nonzero_macs / shrunk.dense_macs)
    notes = () if method.finish == "cut" or method.objective else (f"{method.name} takes no budget",)
    return Outcome(shrunk, cut.figures, tuned, cut.figures.nonzero_macs if kept else shrunk.macs, notes)


def _masks(network: nn.Module, phases: Phases) -> list[TrainHook]:
    """What keeps the weights at zero that a search left so."""
    options = phases.options
    channels = analyse(network, phases.example, (), f"--model {options.model}", options.streams)
    masks = kept_weights(channels, dict(all_tensors(network)))
    return [Masks(masks)] if masks else []


def rehearse_training(phases: Phases, dense: nn.Module) -> Shrunk | None:
    """See that the method can act on ``dense``, and for one that cuts what its budget comes to."""
    method, _ = method_named(phases.options.method)
    phases.by_method(copy.deepcopy(dense), 1)
    return phases.prune(dense, phases.options) if method.finish == "cut" else None


def starts_fresh(options: PruneOptions) -> bool:
    """Whether a method that acts during training begins with fresh weights: its own way where the user does not say,
    except that given weights are never thrown away unasked."""
    if options.start is not None:
        return options.start == "fresh"
    if options.weights is not None or options.dense_epochs == 0:
        return False
    return method_named(options.method)[0].start == "fresh"
