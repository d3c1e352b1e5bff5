"""The listing shows what a layer's descriptor makes the engine do."""

from __future__ import annotations

import numpy as np
import pytest
from test_interpret import one_layer

from proprune_cli.accel import isa
from proprune_cli.accel.disassemble import disassemble

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
