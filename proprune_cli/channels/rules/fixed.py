"""Tensors without channels that could go: filled with one number, or computed from parameters alone."""

from __future__ import annotations

from proprune_cli.channels.recorder import Node
from proprune_cli.channels.rules.layers import parameter_of

_FILLED = frozenset(
    {"zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like"}
    | {"scalar_tensor"}
)
_SAME = frozenset({"expand", "clone", "contiguous", "detach", "alias", "_to_copy", "lift_fresh", "fill", "zero"})
_ELEMENTWISE = frozenset(
    {"add", "sub", "rsub", "mul", "div", "neg", "abs", "square", "sqrt", "rsqrt", "reciprocal", "pow", "exp", "log"}
    | {"sigmoid", "tanh", "relu", "softplus", "clamp", "clamp_min", "clamp_max", "maximum", "minimum"}
)
_VIEWS = frozenset({"view", "reshape", "_unsafe_view", "unsqueeze", "squeeze"})


def is_filled(node: Node) -> bool:
    """Whether every element is the same number, known or not."""
    while node.op in _SAME or (node.op in _VIEWS and node.sources):
        node = node.sources[0]
    return node.op in _FILLED


def made_of(node: Node, dim: int) -> list[tuple[str, int]] | None:
    """Parameters and buffers, and their axes, of which slice i alone makes slice i of ``node`` along ``dim``.

    None where something else has a part in it.
    """
    if node.shape[dim] == 1 or is_filled(node):
        return []
    parameter = parameter_of(node)
    if parameter is not None:
        axis = parameter[1][dim]
        return None if axis is None else [(parameter[0], axis)]
    if node.op in _VIEWS:
        source = node.sources[0]
        longer = [d for d, size in enumerate(node.shape) if size > 1]
        before = [d for d, size in enumerate(source.shape) if size > 1]
        if [node.shape[d] for d in longer] != [source.shape[d] for d in before]:
            return None
        return made_of(source, before[longer.index(dim)])
    if node.op not in _ELEMENTWISE | _SAME:
        return None
    found: list[tuple[str, int]] = []
    for source in node.sources:
        place = dim - len(node.shape) + len(source.shape)
        part = made_of(source, place) if place >= 0 else []
        if part is None:
            return None
        found += part
    return found
