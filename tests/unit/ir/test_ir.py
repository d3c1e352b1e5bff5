"""The float graph's verifier, shape inference and text form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proprune_cli.errors import InputError
from proprune_cli.ir.edit import with_nodes
from proprune_cli.ir.graph import Conv, Graph
from proprune_cli.ir.nodes import Add, MaxPool, Relu
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.text import to_text
from proprune_cli.ir.verify import InvariantError, verify
from proprune_cli.ir.window import Window

CONV = Conv(
    "c", "x", "a", np.ones((4, 2, 3, 3), np.float32), np.zeros(4, np.float32), Window((3, 3), pads=(1, 1, 1, 1))
)


def graph() -> Graph:
    nodes = (CONV, Relu("r", "a", "b"), Add("s", "a", "b", "y", relu=True))
    shapes = {"x": (2, 5, 5), "a": (4, 5, 5), "b": (4, 5, 5), "y": (4, 5, 5)}
    return Graph("g", shapes, nodes, "x", (Output("y", "y", (4, 5, 5)),))


def test_a_sound_graph_passes() -> None:
    verify(graph())


BROKEN = {
    "assigned twice": lambda g: replace(g, nodes=(*g.nodes, Relu("q", "a", "b"))),
    "have this name": lambda g: replace(g, nodes=(*g.nodes[:2], Add("r", "a", "b", "y"))),
    "not produced before": lambda g: replace(g, nodes=g.nodes[::-1]),
    "is recorded as": lambda g: replace(g, tensors={**g.tensors, "y": (4, 5, 6)}),
    "that no node makes": lambda g: replace(g, tensors={**g.tensors, "z": (1,)}),
    "is not produced": lambda g: replace(g, outputs=(Output("y", "nowhere", (4, 5, 5)),)),
    "the model says": lambda g: replace(g, outputs=(Output("y", "y", (7,)),)),
    "two have one name": lambda g: replace(g, outputs=g.outputs * 2),
    "there is no output": lambda g: replace(g, outputs=()),
    "should be float32": lambda g: replace(g, nodes=(replace(CONV, weight=CONV.weight.astype(float)), *g.nodes[1:])),
    "input channels": lambda g: replace(g, nodes=(replace(CONV, groups=2), *g.nodes[1:])),
}


@pytest.mark.parametrize("message", BROKEN)
def test_each_broken_rule_is_named(message: str) -> None:
    with pytest.raises(InvariantError, match=message):
        verify(BROKEN[message](graph()), after="a pass")


def test_a_kind_that_should_be_gone_is_named() -> None:
    with pytest.raises(InvariantError, match="Relu 'r' after tidying: this kind of node should be gone"):
        verify(graph(), absent=(Relu,), after="tidying")


def test_weights_that_are_not_finite_are_the_users() -> None:
    bad = replace(CONV, bias=np.asarray([0, np.inf, 0, 0], np.float32))
    with pytest.raises(InputError, match="bias of Conv 'c'"):
        verify(replace(graph(), nodes=(bad, *graph().nodes[1:])))


def test_shapes_are_inferred_again_after_an_edit() -> None:
    pooled = with_nodes(graph(), [CONV, MaxPool("m", "a", "y", Window((2, 2), (2, 2), (0, 0, 1, 1)))])
    assert pooled.tensors == {"x": (2, 5, 5), "a": (4, 5, 5), "y": (4, 3, 3)}


def test_renaming_reaches_both_operands() -> None:
    assert Add("s", "a", "b", "y").reading({"a": "p", "b": "q"}).inputs == ("p", "q")


def test_the_text_form() -> None:
    assert to_text(graph()) == (
        "graph g(x: 2x5x5)\n"
        "  a: 4x5x5 = Conv(x, weight=<4x2x3x3 [1, 1]>, bias=<4 [0, 0]>, kernel=3x3, pads=1x1x1x1)  # c\n"
        "  b: 4x5x5 = Relu(a)  # r\n"
        "  y: 4x5x5 = Add(a, b, relu=True)  # s\n"
        "  return y as 4x5x5\n"
    )
