"""Steps of the host that follow one another are one, and give the bytes that they gave apart."""

from __future__ import annotations

import onnx
import pytest

from proprune_cli.accel.array import load_array
from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.compile.pipeline import lower
from proprune_cli.compile.quantise.network import quantise
from proprune_cli.ir.nodes import Host as Host
from tests.executors import MEMORY, differing_bytes
from tests.unit.compile.onnx_nets import model, node, random

CONV = node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])
LAST = node("Conv", ["h", "v"], ["y"])
NETWORKS: dict[str, tuple[tuple[onnx.NodeProto, ...], list[tuple[str, ...]]]] = {
    "a chain": (
        (node("LRN", ["c"], ["l"], size=3), node("Softmax", ["l"], ["s"], axis=1), node("Sqrt", ["s"], ["h"])),
        [("LRN", "Softmax", "Sqrt")],
    ),
    "one read twice": (
        (node("Softmax", ["c"], ["s"], axis=1), node("Max", ["s", "s"], ["h"])),
        [("Softmax", "Max")],
    ),
    "two into one": (
        (node("LRN", ["c"], ["l"], size=3), node("Softmax", ["c"], ["s"], axis=1), node("Max", ["l", "s"], ["h"])),
        [("LRN", "Softmax", "Max")],
    ),
    "one that others read": (
        (node("LRN", ["c"], ["l"], size=3), node("Softmax", ["l"], ["s"], axis=1), node("Add", ["l", "s"], ["h"])),
        [("LRN",), ("Softmax",)],
    ),
    "a layer between": (
        (node("LRN", ["c"], ["l"], size=3), node("Tanh", ["l"], ["t"]), node("Softmax", ["t"], ["h"], axis=1)),
        [("LRN",), ("Softmax",)],
    ),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_chains_are_one_step(case: str) -> None:
    nodes, steps = NETWORKS[case]
    source = model(CONV, *nodes, LAST, weights={"w": random(9, 3, 3, 3), "v": random(2, 9, 1, 1)})
    x = random(3, 3, 6, 5)
    quantised, _ = quantise(canonicalise(import_onnx(source)), x)
    assert sum(isinstance(layer, Host) for layer in quantised.layers) == sum(len(names) for names in steps)
    program, _ = lower(quantised, load_array("z7020-256"), MEMORY)
    assert sorted(step.operators for step in program.host_steps) == sorted(steps)
    assert not any(differing_bytes(quantised, program, x).values())
