"""``docs/methods.md``, made from the registry of methods.

``python -m proprune_cli.prune.methods.common.page`` writes it, ``--check`` fails where it is out of date.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from proprune_cli.pages import main, table
from proprune_cli.prune.methods import METHODS
from proprune_cli.prune.methods.common.base import Method
from proprune_cli.train.freezing import CRITERIA

PAGE = "docs/methods.md"

HEAD = """# Pruning methods

Made from `proprune_cli/prune/methods/` by `python -m proprune_cli.prune.methods.common.page`; do not edit.

A method is chosen with `--method NAME`, its options stand behind it: `--method 'serene?mode=lower&lam=1e-4'`. In a run
file: `method: serene?mode=lower&lam=1e-4`. Words: an *importance* scores the channels of a *group* of coupled channels;
a *schedule* says when how much goes; a *regulariser* acts on weights or gradients during training; a *mask* marks
weights that stay zero; *survivors* are the channels that stay.

## Schedules

- `one-shot`: train (`--epochs`), remove what the budget says, fine-tune (`--finetune-epochs`).
- `iterative`: as one-shot, in `--rounds N` rounds. After round i of N, budget^(i/N) remains; then follows its share of
  the epochs of fine-tuning (Han et al. 2015, Section 3).
- `training`: the method acts while the network learns: on from the trained network for `--finetune-epochs`
  (`--start dense`), or afresh for the epochs of both phases (`--start fresh`).

## Budgets

`--budget` says what may remain (`ops`, `params`, `ms`, `mj`) or what goes (`ratio`, of the channels that can). Sizes
are multiples of `--multiple`, and no group keeps less than `--min-keep` of its channels: what no network of such sizes
keeps to is refused before anything is trained, with the least that they allow. A method that takes no budget refuses
one. Where the finished network misses its budget, the run is kept; the command says by how much and ends with exit
code 5. Missed means more than was allowed, by any amount that is counted; for `ms` and `mj`, which hold for the
compiled network, by more than 0.5 %, as its prediction moves with the trained weights; for `ratio` more than 2 % of the
channels too few, which is what rounding to multiples takes.

## Networks to compare with

Beside every result stands a *thin* network: the same architecture, plainly narrower, trained for as many epochs in all,
with no more multiply-accumulates. Of a network from `guided` or `binary`, those count whose weight is not zero.

## Methods

"""

FREEZE = """## Freezing neurons at equilibrium

`--freeze neq` joins fine-tuning after any importance, and the training of any other method. At the end of each epoch
the outputs of each neuron (of convolutions, fully connected layers and batch norms) on a few held-out images are
compared with those of one epoch ago: φ is their cosine, v = Δφ - μ·v_prev, beginning with the first cosine itself, and
the neuron is frozen in the next epoch while |v| < ε (Bragagnolo et al. 2022, "To update or not to update? Neurons at
equilibrium in deep models"). What the first cosine leaves of v halves from epoch to epoch with μ = 0.5: with ε = 10⁻³
nothing is at equilibrium before the tenth. `--freeze stochastic` freezes random neurons instead, the paper's baseline.

Where freezing leaves out whole blocks of 16 channels and a fifth of a layer, the weight gradients of its frozen neurons
are not computed, which saves time and not only operations on paper, the more the wider the layers are (`python -m
benchmarks freezing`). Frozen weights keep their bytes. `stages/finetune/report.json` of the run
(`stages/regularised/report.json` under `training`) holds for each epoch the share of frozen neurons, the
multiply-accumulates of back-propagation per image, and its seconds, on the wall and of the CPU.

"""

TAIL = """## A method of your own

One file in `proprune_cli/prune/methods/` with a `METHOD`, and its name in `METHODS`. An importance is a function from a
group to one score per channel. A method that acts during training gives hooks (`proprune_cli.train.hooks.TrainHook`):
called before and after the backward pass, after the optimiser's step, and at the end of an epoch, with their state in
the checkpoint, so that a run that was killed ends with the same bytes as one that was not.
"""


def page() -> str:
    """The page's text."""
    parts = [
        HEAD,
        _overview(),
        *map(_section, _methods()),
        FREEZE,
        *(f"`{name}`:\n\n{_table(options)}" for name, (options, _) in CRITERIA.items()),
        TAIL,
    ]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _methods() -> list[Method]:
    """Importances first, then what acts on training, each by name."""
    return sorted(METHODS.values(), key=lambda method: (method.training is not None, method.name))


def _overview() -> str:
    rows = [(f"`{m.name}`", ", ".join(m.schedules), m.use) for m in _methods()]
    return table(("method", "schedules", "when to use it"), rows)


def _section(method: Method) -> str:
    text = f"### {method.name}\n\n{method.title}\n\nSource: {method.source}.\n"
    if method.training is not None:
        after = {
            "cut": "channels are removed until the budget is met",
            "zeroed": "channels that are zero are removed",
            "keep": "every channel stays, with the zeros in its weights",
        }[method.finish]
        if method.instead:
            after += f"; there is no budget to give: {method.instead}"
        text += f"\nStarts from {method.start} weights where `--start` does not say; afterwards {after}.\n"
    options = _table(method.options)
    return text + (f"\n{options}" if options else "")


def _table(options: type[Any]) -> str:
    fields = dataclasses.fields(options)
    if not fields:
        return ""
    rows = [(f"`{f.name}`", f"`{f.default}`", str(f.metadata["doc"])) for f in fields]
    return table(("option", "default", "meaning"), rows) + "\n"


if __name__ == "__main__":
    sys.exit(main("proprune_cli.prune.methods.common.page", {PAGE: page()}))
