"""Neurons that are left alone for an epoch at a time: their weights keep their bytes, their gradients are not computed.

Which ones is for a criterion to say: `proprune_cli.train.neq`, `proprune_cli.train.stochastic`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from proprune_cli.data.batches import Batches
from proprune_cli.train.device import CPU, device_of, wait_for
from proprune_cli.train.hooks import EpochEnd, HookState, Step, TrainHook, TrainRun
from proprune_cli.train.partial_backward import partial_forward, saves_time

Layer = nn.Conv2d | nn.Linear | nn.BatchNorm2d
"""Its output channels are neurons; the published code counts those of norms too (EIDOSLAB/NEq)."""


@dataclass
class Watched:
    """One layer and its neurons (output channels)."""

    layer: Layer
    macs: int = 0
    """Multiply-accumulates per image of its forward pass."""
    outputs: torch.Tensor | None = None
    """float32 [neurons, images × positions], each row of length 1."""
    before: torch.Tensor | None = None
    """The same one epoch ago."""
    similarity: torch.Tensor | None = None
    velocity: torch.Tensor | None = None
    frozen: torch.Tensor | None = None
    """bool [neurons]; None: none."""
    parameters: list[nn.Parameter] = field(init=False)
    """Those that learn."""
    kept: tuple[torch.Tensor, list[tuple[nn.Parameter, torch.Tensor]]] | None = None
    """Indices of frozen rows, and the rows."""

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.layer.parameters(recurse=False) if p.requires_grad]


class IdleNeurons(TrainHook):
    """Freezes neurons epoch by epoch, as its heirs say.

    Weights and biases of frozen neurons of convolutions, fully connected layers and batch norms keep their bytes. A
    layer of which all neurons are frozen has no weight gradient at all, and if nothing before it learns, its input has
    none either. Must be the last hook of a run.

    Args:
        images: held-out images on which the outputs of neurons are observed.
    """

    name = "idle"

    def __init__(self, images: int) -> None:
        self._count = images
        self._watched: dict[str, Watched] = {}
        self._run: TrainRun | None = None
        self._images, self._device = torch.empty(0), CPU
        self._epochs: list[dict[str, Any]] = []
        self._began, self._seconds = (0.0, 0.0), (0.0, 0.0)

    def judge(self, watched: dict[str, Watched], epoch: int, run: TrainRun) -> None:
        """Set ``frozen`` of every layer for the epoch that begins, counted from 0.

        Args:
            watched: layers by name, with ``outputs`` as they are now and ``before`` as they were one epoch ago.
        """
        raise NotImplementedError

    def attach(self, run: TrainRun) -> None:
        """Outputs of the network before the first epoch."""
        self._run = run
        self._watched = {
            name: Watched(module)
            for name, module in run.model.named_modules()
            if isinstance(module, Layer) and _learns(module)
        }
        self._device = device_of(run.model)
        validation = run.task.data.validation
        count = min(self._count, len(validation))
        part = validation.take(np.linspace(0, len(validation) - 1, count, dtype=np.int64))
        self._images = next(iter(Batches(run.task.data, part, count, device=self._device).in_order(count)))[0]
        self._begin(0, run)

    def detach(self) -> None:
        """Every layer learns again."""
        for watched in self._watched.values():
            self._release(watched)
        self._watched = {}

    def before_backward(self, step: Step) -> None:  # noqa: ARG002
        """Time the backward pass."""
        wait_for(self._device)
        self._began = _clocks()

    def after_backward(self, step: Step) -> None:  # noqa: ARG002
        """Time the backward pass."""
        wait_for(self._device)
        wall, cpu = _clocks()
        self._seconds = (self._seconds[0] + wall - self._began[0], self._seconds[1] + cpu - self._began[1])

    def after_step(self, step: Step) -> None:  # noqa: ARG002
        """Momentum and decay have moved frozen rows: put them back."""
        with torch.no_grad():
            for watched in self._watched.values():
                if watched.kept is not None:
                    index, rows = watched.kept
                    for parameter, row in rows:
                        parameter.index_copy_(0, index, row)

    def end_epoch(self, end: EpochEnd) -> None:
        """Judge every neuron anew."""
        run = self._run
        if run is None:
            return
        self._record(end.epoch)
        self._begin(end.epoch + 1, run)

    def _begin(self, epoch: int, run: TrainRun) -> None:
        """Observe every neuron, and arrange the coming epoch."""
        for name, now in self._observe(run.model).items():
            watched = self._watched[name]
            watched.before, watched.outputs = watched.outputs, now
        self.judge(self._watched, epoch, run)
        for watched in self._watched.values():
            self._freeze(watched, run)

    def _observe(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Outputs of every layer on the held-out images, one row of length 1 per neuron."""
        found: dict[str, torch.Tensor] = {}

        def watcher(name: str) -> Any:
            def watch(_: nn.Module, __: Any, output: torch.Tensor) -> None:
                rows = output.movedim(1 if output.ndim == 4 else -1, 0).flatten(1)
                found[name] = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
                watched = self._watched[name]
                weight = watched.layer.weight
                per_output = 0 if isinstance(watched.layer, nn.BatchNorm2d) else weight.numel() // weight.shape[0]
                watched.macs = per_output * math.prod(output.shape[1:])

            return watch

        handles = [w.layer.register_forward_hook(watcher(n)) for n, w in self._watched.items()]
        model.eval()
        try:
            with torch.no_grad():
                model(self._images)
        finally:
            for handle in handles:
                handle.remove()
        return found

    def _freeze(self, watched: Watched, run: TrainRun) -> None:
        """Arrange the coming epoch."""
        self._release(watched)
        frozen, layer = watched.frozen, watched.layer
        if frozen is None or not bool(frozen.any()):
            return
        parameters = watched.parameters
        gone, active = frozen.nonzero().flatten(), (~frozen).nonzero().flatten()
        for parameter in parameters:
            for value in run.optimiser.state.get(parameter, {}).values():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    value.index_fill_(0, gone, 0.0)
        # Of a layer that is frozen as a whole too: methods shrink weights that have no gradient.
        watched.kept = (gone, [(p, p.detach().index_select(0, gone)) for p in parameters])
        if not len(active):
            for parameter in parameters:
                parameter.requires_grad_(False)
            return
        if not isinstance(layer, nn.BatchNorm2d) and _saves(layer, frozen):
            layer.__dict__["forward"] = partial_forward(layer, active)

    def _release(self, watched: Watched) -> None:
        watched.kept = None
        watched.layer.__dict__.pop("forward", None)
        for parameter in watched.parameters:
            parameter.requires_grad_(True)

    def _record(self, epoch: int) -> None:
        """Back-propagation of the epoch that is over: multiply-accumulates per image, and seconds."""
        own = {p for w in self._watched.values() for p in w.parameters}
        # Where other modules learn, every layer but the first needs a gradient to its input.
        others = self._run is not None and any(p.requires_grad and p not in own for p in self._run.model.parameters())
        done, full, learning = 0, 0, False
        for position, watched in enumerate(self._watched.values()):
            frozen = 0.0 if watched.frozen is None else float(watched.frozen.float().mean())
            full += watched.macs * (1 if position == 0 else 2)
            saves = frozen if watched.frozen is not None and _saves(watched.layer, watched.frozen) else 0.0
            done += round(watched.macs * (1 - saves)) + (watched.macs if learning else 0)
            learning = learning or others or frozen < 1.0
        neurons = sum(w.layer.weight.shape[0] for w in self._watched.values())
        still = sum(0 if w.frozen is None else int(w.frozen.sum()) for w in self._watched.values())
        self._epochs.append(
            {
                "epoch": epoch + 1,
                "frozen": still / max(1, neurons),
                "backward_macs": done,
                "full_backward_macs": full,
                "backward_seconds": round(self._seconds[0], 3),
                "backward_cpu_seconds": round(self._seconds[1], 3),
            }
        )
        self._seconds = (0.0, 0.0)

    def state(self) -> HookState:
        """Velocities and masks; the outputs follow from the weights."""
        tensors: dict[str, torch.Tensor] = {}
        for name, watched in self._watched.items():
            values = {"similarity": watched.similarity, "velocity": watched.velocity, "frozen": watched.frozen}
            tensors |= {f"{name}/{k}": v.float() for k, v in values.items() if v is not None}
        return HookState(tensors, {"epochs": self._epochs})

    def restore(self, state: HookState) -> None:
        """See `TrainHook`; the network has the checkpoint's weights by now."""
        run = self._run
        if run is None:
            return
        self._epochs = state.note["epochs"]
        tensors = {name: t.to(self._device) for name, t in state.tensors.items()}
        for name, outputs in self._observe(run.model).items():
            watched = self._watched[name]
            watched.outputs = outputs
            watched.similarity = tensors.get(f"{name}/similarity")
            # Checkpoints of before have no velocity after the first similarity: it is that itself.
            watched.velocity = tensors.get(f"{name}/velocity", watched.similarity)
            frozen = tensors.get(f"{name}/frozen")
            watched.frozen = None if frozen is None else frozen != 0
            self._freeze(watched, run)

    def report(self) -> dict[str, Any]:
        """Per epoch: share of frozen neurons, multiply-accumulates per image and seconds of back-propagation."""
        done = sum(e["backward_macs"] for e in self._epochs)
        full = sum(e["full_backward_macs"] for e in self._epochs)
        share = done / full if full else math.nan
        return {"backward_macs_share": round(share, 4), "epochs": self._epochs} if self._epochs else {}


def _clocks() -> tuple[float, float]:
    """Seconds on the wall, and seconds of all threads of this process, which other processes do not lengthen."""
    return time.perf_counter(), time.process_time()


def _learns(layer: Layer) -> bool:
    """Whether its weight is a parameter of its own, not computed, that the user has not frozen."""
    weight = layer._parameters.get("weight")  # pyright: ignore[reportPrivateUsage]
    return weight is not None and weight.requires_grad


def _saves(layer: Layer, frozen: torch.Tensor) -> bool:
    """Whether the gradients of frozen neurons are left out, and not only unused."""
    active = int((~frozen).sum())
    return active == 0 or saves_time(layer, active)
