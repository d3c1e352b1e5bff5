"""First-order Taylor importance (Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from proprune_cli.channels.dependencies import Group
from proprune_cli.errors import InputError
from proprune_cli.prune.methods.common.base import Context, Method, Scores
from proprune_cli.spec.options import option


@dataclass(frozen=True)
class TaylorOptions:
    """Options of `taylor`."""

    form: str = option(
        "sum",
        "`sum`: Σ (g·w)² over the channel's weights; `group`: (Σ g·w)²; `abs`: Σ |g·w|",
        choices=("sum", "group", "abs"),
    )


def taylor(group: Group, context: Context) -> Scores | None:
    """Saliency of each channel, summed over the parameters that make it; None where nothing does.

    Raises:
        InputError: no gradients were computed.
    """
    if context.saliency is None:
        raise InputError(
            "taylor needs gradients", where="--method taylor", remedy="give prune_network the saliency of a data set"
        )
    total = np.zeros(group.channels)
    found = False
    for member in group.members:
        saliency = context.saliency.get(f"{member.tensor}/{member.dim}")
        if member.role != "out" or saliency is None:
            continue
        rows = saliency[torch.from_numpy(member.index.reshape(-1))].reshape(group.channels, -1)
        total += rows.double().sum(dim=1).numpy()
        found = True
    return total if found else None


def _form(options: TaylorOptions) -> str:
    return options.form


METHOD = Method(
    name="taylor",
    title="Channels whose removal changes the loss least, to first order, go first.",
    source="Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, first-order importance "
    "and joint importance of a structural set",
    use="Where held-out images are at hand; often better than norms before fine-tuning, above all with --rounds.",
    importance=taylor,
    saliency=_form,
    options=TaylorOptions,
)
