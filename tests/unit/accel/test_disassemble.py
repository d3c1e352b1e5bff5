"""The listing shows what a layer's descriptor makes the engine do."""

from __future__ import annotations

import numpy as np
import pytest

from proprune_cli.accel import isa
from proprune_cli.accel.array import load_array
from proprune_cli.accel.disassemble import disassemble
from tests.step_order import with_depends
from tests.unit.accel.interpret_build import Network
from tests.unit.accel.test_interpret import one_layer
from tests.unit.accel.test_interpret_faults import edit_step
from tests.unit.accel.test_interpret_order import copying

TABLE = np.arange(256, dtype=np.uint8).view(np.int8)

CASES = {
    "nothing": ({}, "MAC, stride 1×1, pad code 0"),
    "addition": (
        {"residual": "r", "shifts": (2, 0, 3), "relu_after": True},
        "MAC add(<<2, residual<<0, >>3) relu after, stride",
    ),
    "difference": ({"residual": "r", "subtract": True}, "MAC subtract(<<0, residual<<0, >>0), stride"),
    "channel scale": (
        {"residual": "r", "broadcast": True, "combine": isa.Combine.MULTIPLY, "shifts": (0, 0, 7)},
        "MAC multiply(residual of one word each, <<0, >>7), stride",
    ),
}


def listing(**changes: object) -> str:
    network, _ = one_layer(**changes)
    return "\n".join(disassemble(network.build(), network.array))


@pytest.mark.parametrize("case", CASES)
def test_the_combination_is_shown(case: str) -> None:
    changes, expected = CASES[case]
    assert expected in listing(**changes)


def test_the_table_is_shown_where_it_is_applied() -> None:
    changes: dict[str, object] = {"table": TABLE, "residual": "r"}
    before = listing(lookup=isa.Lookup.BEFORE, relu_before=True, **changes)
    after = listing(lookup=isa.Lookup.AFTER, relu_after=True, **changes)
    network, _ = one_layer(lookup=isa.Lookup.BEFORE, **changes)
    address = f"0x{int(network.build().layers().row(0).lookup_table):06x}"
    assert f"MAC relu table at {address} add(" in before
    assert f" relu after table at {address} after, stride" in after


def test_pitches_and_steps_are_shown() -> None:
    text = listing(window=(0, 1, 4, 4), out_step=(2, 3), out_at=(1, 1))
    assert "in 4×4, rows of 8 words, planes at" in text
    assert "64 words a plane, rows of 8, every 2×3 pixels" in text


def two_layers(depends: list[int], on_chip: tuple[str, ...] = ()) -> str:
    """Four steps that copy x to m, four that copy m to y."""
    layers = [copying("x", "m", 8, (1, 4)), copying("m", "y", 8, (1, 4))]
    network = Network(load_array("z7020-256"), dict.fromkeys("xmy", (8, 4, 4)), layers, "x", "y", on_chip)
    return "\n".join(disassemble(with_depends(network.build(), depends), network.array))


def test_the_step_that_is_waited_for_is_named() -> None:
    text = two_layers([0, 1, 0, 0, 3, 5, 0, 5])
    waits = [line.rpartition("; ")[2] for line in text.splitlines() if "iterations;" in line]
    assert waits == [
        "waits for nothing",
        "waits for step 0",
        "waits for nothing",
        "waits for nothing",
        "waits for step 1 of 'm'",
        "waits for step 0 of 'm'",
        "waits for nothing",
        "waits for step 2 of 'm'",
    ]


def test_a_wait_for_more_steps_than_are_in_flight_is_shown_as_such() -> None:
    network, _ = one_layer()
    text = "\n".join(disassemble(edit_step(network.build(), 3, depends=9), network.array))
    assert "waits for the step 9 before it, which no engine allows" in text


def test_planes_of_the_engines_own_memory_are_marked() -> None:
    text = two_layers([0] * 8, on_chip=("m",))
    assert "out at chip:0x0000, 16 words a plane" in text
    assert "reads planes chip:0x0000" in text
    assert two_layers([0] * 8).count("chip") == 0
