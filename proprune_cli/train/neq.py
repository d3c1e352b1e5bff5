"""Neurons at equilibrium (Bragagnolo et al. 2022, "To update or not to update? Neurons at equilibrium in deep models").

A neuron whose output on held-out images no longer changes course is frozen for an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.spec.options import option
from proprune_cli.train.hooks import TrainRun
from proprune_cli.train.idle import IdleNeurons, Watched


@dataclass(frozen=True)
class NeqOptions:
    """Options of ``--freeze neq``."""

    eps: float = option(1e-3, "ε: a neuron is frozen while its |v| is below this", low=0.0)
    mu: float = option(0.5, "μ, how much of the last velocity counts against the new one", low=0.0, high=1.0)
    images: int = option(64, "held-out images on which outputs are compared", low=1)


class Equilibrium(IdleNeurons):
    """Freezes neurons at equilibrium.

    φ_t is the cosine of a neuron's outputs on held-out images at the end of epoch t and one epoch before, t from 0.
    v_t = (φ_t - φ_{t-1}) - μ·v_{t-1} with v_0 = φ_0, which is Eq. 3 of Bragagnolo et al. 2023, "A round-trip journey
    in pruned artificial neural networks": φ_t + Σ_{α=1}^t (-1)^α (μ^{α-1} + μ^α) φ_{t-α}, down to its last term. A
    neuron is frozen in epoch t + 1 where |v_t| < ε and t ≥ 1: v_0 knows of no change yet.
    """

    name = "neq"

    def __init__(self, options: NeqOptions) -> None:
        super().__init__(options.images)
        self._options = options

    def judge(self, watched: dict[str, Watched], epoch: int, run: TrainRun) -> None:  # noqa: ARG002
        """See `IdleNeurons.judge`."""
        for layer in watched.values():
            if layer.before is None or layer.outputs is None:
                continue
            phi = (layer.before * layer.outputs).sum(dim=1)
            if layer.similarity is None or layer.velocity is None:
                layer.velocity = phi
            else:
                layer.velocity = (phi - layer.similarity) - self._options.mu * layer.velocity
                layer.frozen = layer.velocity.abs() < self._options.eps
            layer.similarity = phi
