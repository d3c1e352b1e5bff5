"""How much a program makes the engine do, and the bounds that hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_LAYER_ITERATIONS = (1 << 32) - 1
"""Of a layer's accumulate loop: its counter has 32 bits."""

MAX_ITERATIONS = 1 << 34
"""Of a whole program, per start: three minutes of an array at 100 MHz."""

MAX_STEP_STORES = 1 << 22
"""Words that one step may store. The host keeps what is on its way through the output stage, 128 bytes for each."""


@dataclass(frozen=True)
class LayerSteps:
    """What one layer makes the engine do, counted in its program: steps, and trips of the accumulate loop."""

    steps: int
    iterations: int


class Stated(Protocol):
    """What a plan says of a layer."""

    @property
    def steps(self) -> int: ...

    @property
    def iterations(self) -> int: ...


def work_faults(layers: Sequence[LayerSteps], stated: Sequence[Stated] | None = None) -> Iterator[str]:
    """Where a program does more than it may, or more than its plan says.

    Args:
        stated: the plan's layers, which may be of any types; None: there is no plan to compare with.
    """
    for number, layer in enumerate(layers):
        if layer.iterations > MAX_LAYER_ITERATIONS:
            yield f"layer {number} takes {layer.iterations} iterations; its counter ends at {MAX_LAYER_ITERATIONS}"
    total = sum(layer.iterations for layer in layers)
    if total > MAX_ITERATIONS:
        yield f"the layers take {total} iterations together, more than the {MAX_ITERATIONS} that anything runs"
    if stated is None:
        return
    if len(stated) != len(layers):
        yield f"the plan has {len(stated)} layers, the program {len(layers)}"
        return
    for number, (layer, plan) in enumerate(zip(layers, stated, strict=True)):
        said = (plan.steps, plan.iterations)
        if said != (layer.steps, layer.iterations):
            yield (
                f"the plan states {said[0]} steps and {said[1]} iterations for layer {number}, the program takes "
                f"{layer.steps} and {layer.iterations}"
            )
            return
