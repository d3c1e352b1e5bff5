"""The order of a run: which layers its steps belong to, and which steps are complete when one of them loads."""

from __future__ import annotations

from dataclasses import dataclass

from proprune_cli.accel import isa
from proprune_cli.accel.interpret.faults import Site
from proprune_cli.accel.interpret.memory import Memory


@dataclass(frozen=True)
class Turn:
    """A step's place in the run, whose steps are counted from 1.

    Attributes:
        step: its number.
        complete: it loads when the steps up to this one are complete, and perhaps no later one is.
    """

    step: int
    complete: int


def turn_of(s: isa.StepDescriptor, step: int, site: Site) -> Turn:
    """The turn of step number ``step``.

    A step is certain of what it waits for itself; that a step before it waited for more does not count.

    Raises:
        InputError: it waits for a step so far back that the engine never holds it that long.
    """
    depends = int(s.depends)
    if depends > isa.STEPS_IN_FLIGHT:
        raise site.fault(f"depends is {depends}, but no more than {isa.STEPS_IN_FLIGHT} steps are ever in flight")
    return Turn(step, step - (depends or isa.STEPS_IN_FLIGHT))


def layers_of(memory: Memory, layer_table: int, step_count: int, site: Site) -> list[isa.LayerDescriptor]:
    """The layers, with plain integers, that ``step_count`` steps from ``layer_table`` on belong to.

    Raises:
        InputError: the table leaves the buffer, or the steps end inside a layer or lead through one without steps.
    """
    layers: list[isa.LayerDescriptor] = []
    steps = 0
    while steps < step_count:
        number = len(layers)
        address = layer_table + number * isa.LayerDescriptor.WORDS
        words = memory.table(address, isa.LayerDescriptor.WORDS, site, "the layer table")
        layer = isa.LayerDescriptor.decode(words.copy()).row(0)
        if not int(layer.step_count):
            raise site.fault(f"layer {number} of the run has no steps")
        layers.append(layer)
        steps += int(layer.step_count)
    if steps > step_count:
        raise site.fault(f"{step_count} steps are to run, but layer {len(layers) - 1} of the run ends at step {steps}")
    return layers
