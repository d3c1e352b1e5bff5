"""One-shot: prune the trained network once, then fine-tune."""

from __future__ import annotations

from proprune_cli.prune.phases import Phases
from proprune_cli.prune.schedules.base import Fresh, Outcome, fine_tuning, freeze_key


def one_shot(phases: Phases, start: Fresh) -> Outcome:
    """See the module."""
    options = phases.options
    cut = phases.cut("prune", start.dense.model, options)
    shrunk = cut.shrunk
    tuned = phases.train(
        "finetune",
        shrunk.model,
        shrunk.cuts,
        epochs=options.tuning_epochs,
        peak=phases.tuning_peak,
        label="fine-tuning",
        size=(shrunk.macs, shrunk.params),
        shape=fine_tuning(options),
        key=freeze_key(options),
    )
    return Outcome(shrunk, cut.figures, tuned, shrunk.macs)
