"""SeReNe (Tartaglione et al. 2022, "SeReNe: Sensitivity-Based Regularization of Neurons for Structured Sparsity")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.hooks import RemovableHandle

from proprune_cli.modules.outputs import tensors_of
from proprune_cli.prune.methods.common.base import Job, Method, Training
from proprune_cli.prune.methods.lobster import PlateauOptions, plateau_training
from proprune_cli.spec.options import option
from proprune_cli.train.hooks import Step, TrainHook, TrainRun

_NEURONS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class SereneOptions(PlateauOptions):
    """Options of `serene`."""

    mode: str = option(
        "full",
        "sensitivity: `full` (a backward pass for each output), `lower` (its lower bound: one pass), `local` (how "
        "often the neuron is active: none)",
        choices=("full", "lower", "local"),
    )
    every: int = option(1, "steps between two measurements of the sensitivity", low=1)


class NeuronSensitivity(TrainHook):
    """After each step, w ← w - λ·w·relu(1 - S_n) (the paper's update rule) for all weights w of neuron (filter) n.

    S_n is per filter: mean over the batch and the positions of the filter's map of
    ``full``: (1/C) Σ_k |∂y_k/∂p_n|; ``lower``: (1/C) |∂ Σ_k y_k / ∂p_n|, its lower bound;
    ``local``: 1 where p_n > 0, else 0, the local version.
    Here p_n is the filter's output before the activation and y_k are the network's C outputs.
    Filters of the last layer are neurons too. A shared module counts by its last call.
    """

    name = "serene"

    def __init__(self, lam: float, mode: str, every: int = 1) -> None:
        self._lam, self._mode, self._every = lam, mode, every
        self._layers: dict[str, nn.Conv2d | nn.Linear] = {}
        self._edges: dict[str, GradientEdge] = {}
        self._active: dict[str, torch.Tensor] = {}
        self.sensitivity: dict[str, torch.Tensor] = {}
        """S_n as last measured, by layer: float32 [filters]."""
        self._handles: list[RemovableHandle] = []
        self._steps = 1

    def attach(self, run: TrainRun) -> None:
        """One hook on each layer's output."""
        self._steps = run.steps
        self._layers = {n: m for n, m in run.model.named_modules() if isinstance(m, _NEURONS)}
        for name, layer in self._layers.items():
            self._handles.append(layer.register_forward_hook(self._watcher(name)))

    def detach(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._edges, self._active = [], {}, {}

    def _watcher(self, name: str) -> Any:
        def watch(module: nn.Module, _: Any, output: torch.Tensor) -> None:
            if not module.training or not output.requires_grad:
                self._edges.pop(name, None)
                return
            if self._mode == "local":
                self._active[name] = _per_neuron((output.detach() > 0).float())
            else:
                # The edge, not the tensor: an activation that works in place would change the tensor.
                self._edges[name] = get_gradient_edge(output)

        return watch

    def before_backward(self, step: Step) -> None:
        """Measure the sensitivity; the graph stays for the loss."""
        # Counted from the start of an epoch, so that a resumed run measures at the same steps.
        if step.number % self._steps % self._every:
            return
        self.sensitivity = dict(self._active) if self._mode == "local" else self._by_gradients(step.outputs)

    def _by_gradients(self, outputs: object) -> dict[str, torch.Tensor]:
        edges = list(self._edges.values())
        if not edges:  # every neuron is frozen
            return {}
        summed = torch.cat([y.flatten(2).sum(dim=2) if y.ndim > 2 else y for y in tensors_of(outputs)], dim=1)
        classes = summed.shape[1]
        targets = [summed.sum()] if self._mode == "lower" else list(summed.sum(dim=0))
        totals: dict[str, torch.Tensor] = {}
        for target in targets:
            gradients = cast(
                "tuple[torch.Tensor | None, ...]",
                torch.autograd.grad(target, edges, retain_graph=True, allow_unused=True),
            )
            for name, gradient in zip(self._edges, gradients, strict=True):
                if gradient is not None:
                    value = _per_neuron(gradient.abs()) / classes
                    totals[name] = totals[name] + value if name in totals else value
        return totals

    def after_step(self, step: Step) -> None:  # noqa: ARG002
        """Shrink the weights of insensitive neurons."""
        with torch.no_grad():
            for name, sensitivity in self.sensitivity.items():
                weight = self._layers[name].weight
                factor = 1.0 - self._lam * (1.0 - sensitivity).clamp_min(0.0)
                weight.mul_(factor.view(-1, *[1] * (weight.ndim - 1)))


def _per_neuron(values: torch.Tensor) -> torch.Tensor:
    """[B, N, …] of a convolution or [B, N] (or […, N]) of a fully connected layer → mean for each of the N."""
    if values.ndim == 4:
        return values.mean(dim=(0, 2, 3))
    return values.reshape(-1, values.shape[-1]).mean(dim=0)


def _training(job: Job, options: SereneOptions) -> Training:  # noqa: ARG001
    return plateau_training(NeuronSensitivity(options.lam, options.mode, options.every), options)


METHOD = Method(
    name="serene",
    title="Shrinks whole neurons to which the network's outputs are insensitive, and zeroes the small weights whenever "
    "the validation loss no longer falls.",
    source="Tartaglione et al. 2022, SeReNe: Sensitivity-Based Regularization of Neurons for Structured Sparsity in "
    "Neural Networks, neuron sensitivity with its lower bound and local version, update rule",
    use="Fewer neurons, not only fewer weights, with no budget to choose; `mode=lower` for more than a few classes.",
    training=_training,
    finish="zeroed",
    instead="the loss that it may cost decides, for example --method 'serene?twt=0.1'",
    options=SereneOptions,
)
