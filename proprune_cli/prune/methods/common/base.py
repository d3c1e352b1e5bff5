"""What a pruning method is: its description, its options, and how it scores channels or joins a training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.channels.dependencies import Group
from proprune_cli.prune.goals import Sought
from proprune_cli.prune.objective import CostModel
from proprune_cli.train.hooks import TrainHook
from proprune_cli.train.task import Task

if TYPE_CHECKING:
    from proprune_cli.prune.options import PruneOptions

Tensors = Mapping[str, torch.Tensor]
"""Parameters and buffers by qualified name."""
Scores = npt.NDArray[np.float64]
Schedule = Literal["one-shot", "iterative", "training"]
Finish = Literal["cut", "zeroed", "keep"]
"""After training: cut to the budget by importance; remove the channels that are zero; leave every channel."""
Start = Literal["dense", "fresh"]


@dataclass(frozen=True)
class Context:
    """What an importance may look at besides the group."""

    tensors: Tensors
    rng: np.random.Generator
    saliency: Tensors | None = None
    """Per parameter, what its elements matter to the loss; only for methods that ask for it (`Method.saliency`)."""


class Importance(Protocol):
    """Scores the channels of a group; the least important go first."""

    def __call__(self, group: Group, context: Context) -> Scores | None:
        """float64 [channels], none negative; None where the method cannot judge this group, which then stays."""
        ...


Slices = list[tuple[str, int, torch.Tensor]]
"""Parameter, axis, indices (int64) along it."""


@dataclass(frozen=True)
class Job:
    """A training run that a method shapes. The method may change ``model`` in place before training begins."""

    model: nn.Module
    task: Task
    example: torch.Tensor
    """float32 [2, C, H, W]."""
    options: PruneOptions
    epochs: float
    would_go: Callable[[], Slices]
    """Slices of the parameters that the budget and the method's importance would remove from ``model`` now."""
    cost_model: CostModel | None = None
    """What the budget is counted with, where it is neither operations nor parameters."""
    sought: tuple[Sought, ...] = ()
    """What ``--objective`` asks for; none where it is not given."""


@dataclass
class Training:
    """How a method trains."""

    hooks: list[TrainHook]
    finalise: Callable[[], None] = lambda: None
    """Turn the trained ``Job.model`` into plain weights, in place."""
    train: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of `TrainOptions` that the method sets itself."""


@dataclass(frozen=True)
class NoOptions:
    """The method has none."""


@dataclass(frozen=True)
class Method:
    """One pruning method. The page docs/methods.md is made from these fields."""

    name: str
    title: str
    """What it does, in a sentence."""
    source: str
    """Paper and equation."""
    use: str
    """When to choose it."""
    importance: Importance | None = None
    saliency: Callable[[Any], str] | None = None
    """From the method's options to the kind of saliency its importance needs (see `proprune_cli.prune.saliency`)."""
    training: Callable[[Job, Any], Training] | None = None
    """Present where the method acts during training; called with its options."""
    start: Start = "dense"
    """Weights that such a training starts from where the user does not say."""
    finish: Finish = "cut"
    """What happens to the network after such a training."""
    instead: str = ""
    """What decides how much goes, of a method that takes no budget: a clause."""
    options: type[Any] = NoOptions
    objective: bool = False
    """Takes ``--objective``."""
    share: Callable[[Any], float] | None = None
    """From the method's options to the share of the epochs in which it acts, where that is not all: for the rest of
    them, with the same peak rate falling to 0, the network is trained that is left of it."""

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """Schedules it can follow; the first is its own."""
        return ("one-shot", "iterative") if self.training is None else ("training",)


def filter_norms(group: Group, tensors: Tensors, norm: Callable[[torch.Tensor], torch.Tensor]) -> Scores | None:
    """Sum over the layers that make the group of ``norm`` of each channel's weights.

    ``norm`` maps [channels, weights] to [channels]. Each layer's norms are divided by their mean first, so that in a
    coupled group (a residual stream) no layer outvotes the others by its scale alone.
    """
    total = np.zeros(group.channels)
    found = False
    for member in group.members:
        tensor = tensors[member.tensor].detach()
        if member.role != "out" or tensor.ndim < 2:
            continue
        moved = tensor.movedim(member.dim, 0)
        rows = moved[torch.from_numpy(member.index.reshape(-1))].reshape(group.channels, -1).double()
        scores = norm(rows).cpu().numpy()
        mean = float(scores.mean())
        total += scores / mean if mean > 0 else scores
        found = True
    return total if found else None
