"""Channel rules of operators that work on each channel by itself, and of arithmetic between tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proprune_cli.channels.labels import Labels, Walker
from proprune_cli.channels.recorder import Node
from proprune_cli.channels.rules.fixed import is_filled, made_of
from proprune_cli.channels.rules.layers import parameter_of


def keeps_zero(walker: Walker, node: Node) -> Labels | None:
    """f(x) element by element with f(0) = 0."""
    return walker.of(node.sources[0])


def lifts(walker: Walker, node: Node) -> Labels | None:
    """f(x) element by element with f(0) ≠ 0."""
    found = walker.of(node.sources[0])
    if found is not None:
        walker.lift(found)
    return found


def spatial(walker: Walker, node: Node) -> Labels | None:
    """Pooling, resizing and padding with its own values: works inside a channel, a zero one stays zero."""
    found = walker.of(node.sources[0])
    if found is None or found.axis <= 1:
        return found
    walker.pin(found.ids, f"{node.op} ({node.name}) works across the channels")
    return None


def spatial_pair(walker: Walker, node: Node) -> list[Labels | None]:
    """Pooling that also gives the places it chose."""
    found = spatial(walker, node)
    return [found, found]


def unpool(walker: Walker, node: Node) -> Labels | None:
    """Values go back to the places that a pooling chose in the same channels."""
    values, places = (walker.of(node.arguments[name]) for name in ("self", "indices"))
    if values is None or places is None or values.axis != places.axis or values.ids.shape != places.ids.shape:
        walker.pin_inputs(node, f"{node.op} ({node.name}) takes places from a tensor whose channels are fixed")
        return None
    walker.unite(values.ids, places.ids)
    return Labels(values.ids, values.axis, values.tails | places.tails)


def clamp(walker: Walker, node: Node) -> Labels | None:
    """f(0) = 0 only where 0 lies inside the bounds."""
    a = node.arguments
    if node.op == "threshold":
        inside = a["threshold"] >= 0 and a["value"] == 0
    else:
        low = a.get("min", a.get("min_val"))
        high = a.get("max", a.get("max_val"))
        inside = (low is None or (isinstance(low, (int, float)) and low <= 0)) and (
            high is None or (isinstance(high, (int, float)) and high >= 0)
        )
    return keeps_zero(walker, node) if inside else lifts(walker, node)


def power(walker: Walker, node: Node) -> Labels | None:
    """x to a positive power keeps 0."""
    exponent = node.arguments.get("exponent")
    if not isinstance(exponent, (int, float)) or isinstance(node.arguments.get("self"), (int, float)):
        walker.pin_inputs(node, f"{node.op} ({node.name}) raises to a computed power")
        return None
    return keeps_zero(walker, node) if exponent > 0 else lifts(walker, node)


def add(walker: Walker, node: Node) -> Labels | None:
    """Sums and differences: the channels of a stream, which each operand feeds."""
    return _combine(walker, node, stream=True)


def multiply(walker: Walker, node: Node) -> Labels | None:
    """Products: channels at the same place are the same channel."""
    return _combine(walker, node, stream=False)


def extreme(walker: Walker, node: Node) -> Labels | None:
    """Maxima and minima: with a number or a tensor of one channel, a zero channel need not stay zero."""
    found = _combine(walker, node, stream=False)
    if found is not None:
        walker.lift(found)
    return found


compare = extreme
"""Comparisons and logic: channel by channel, and 0 > -1."""


def where(walker: Walker, node: Node) -> Labels | None:
    """Each value from one of two tensors, chosen by a third: all channels at the same place are the same channel."""
    found = _combine(walker, node, stream=False, names=("condition", "self", "other"))
    if found is not None:
        walker.lift(found)
    return found


def masked_fill(walker: Walker, node: Node) -> Labels | None:
    """A number where a mask says so."""
    found = _combine(walker, node, stream=False, names=("self", "mask"))
    if found is not None:
        walker.lift(found)
    return found


def divide(walker: Walker, node: Node) -> Labels | None:
    """Only by what does not go with the channels: a removed channel would divide by zero."""
    divisor = node.arguments["other"]
    if walker.of(divisor) is not None:
        walker.pin_inputs(
            node, f"{node.op} ({node.name}) divides by a tensor, which would be zero for a removed channel"
        )
        return walker.of(node.arguments["self"])
    return _combine(walker, node, stream=False)


def softmax(walker: Walker, node: Node) -> Labels | None:
    """Softmax and its logarithm: along another axis than the channels it keeps to each channel."""
    found = walker.of(node.arguments["self"])
    if found is None:
        return None
    axis = int(node.arguments["dim"]) % len(node.shape)
    if axis == found.axis:
        walker.pin(found.ids, f"{node.op} ({node.name}) normalises over channels")
        return None
    if found.ids.shape[axis] > 1:
        walker.lift(found)
        return walker.settle(found)
    walker.lift(found)
    return found


def along(walker: Walker, node: Node) -> Labels | list[Labels | None] | None:
    """Running sums, sorted values and the like: along another axis than the channels they keep to each channel."""
    found = walker.of(node.arguments["self"])
    if found is None:
        return None
    rank = len(node.arguments["self"].shape)
    axis = int(node.arguments.get("dim", -1)) % rank
    if axis == found.axis:
        walker.expose(found)
        walker.pin(found.ids, f"{node.op} ({node.name}) works along the channels")
        return None
    walker.lift(found)  # places are no zeros
    if found.ids.shape[axis] > 1:
        walker.settle(found)
        found = replace(found, ids=found.ids.take([0], axis=axis))
    return found if node.shape else [found, found]


def _combine(walker: Walker, node: Node, stream: bool, names: tuple[str, ...] = ("self", "other")) -> Labels | None:
    operands = [v for v in (node.arguments.get(name) for name in names) if isinstance(v, Node)]
    rank = len(node.shape)
    found: list[Labels] = []
    fixed: list[Node] = []
    for operand in operands:
        labels = walker.of(operand)
        labels = None if labels is None else labels.aligned(rank)
        if labels is None or labels.ids.shape[labels.axis] < node.shape[labels.axis]:
            fixed.append(operand)  # also a tensor of one channel, which all channels of the other one read
        else:
            found.append(labels)
    if not found:
        return None
    axis = found[0].axis
    if any(f.axis != axis for f in found):
        walker.pin_inputs(node, f"{node.op} ({node.name}) broadcasts over channels")
        return None
    shape = np.broadcast_shapes(*(f.ids.shape for f in found))
    tails = frozenset[str]().union(*(f.tails for f in found))
    if stream and len(found) == len(operands) == 2:
        ids = walker.fresh(int(np.prod(shape))).reshape(shape)
        walker.sums.append(ids.reshape(-1))
        for f in found:
            walker.meet(ids, f.ids)
            walker.expose(f)
        result = Labels(ids, axis)
    else:
        ids = np.broadcast_to(found[0].ids, shape)
        for f in found[1:]:
            walker.unite(ids, f.ids)
        result = Labels(np.ascontiguousarray(ids), axis, tails)
    for operand in fixed:
        _fixed_operand(walker, node, operand, result, stream)
    if stream and len(operands) < 2:
        walker.lift(result)
    return walker.settle(result) if result.line is None else result


def _one_for_all(node: Node, dim: int) -> bool:
    """Whether a tensor is one channel repeated along ``dim``.

    Where it is filled with one number, its length may be written in the code: then the pruned network does not run.
    """
    if is_filled(node):
        return True
    while node.op in ("expand", "clone", "sigmoid") and len(node.sources[0].shape) == len(node.shape):
        node = node.sources[0]
    return node.shape[dim] == 1


def _fixed_operand(walker: Walker, node: Node, operand: Node, result: Labels, stream: bool) -> None:
    """The other operand has no channels that could go, unless parameters alone make it."""
    dim = result.axis - len(node.shape) + len(operand.shape)
    if dim < 0 or operand.shape[dim] == 1 or _one_for_all(operand, dim):
        if stream:
            walker.lift(result)
        return
    parameter = parameter_of(operand)
    own = None if parameter is None else parameter[1][dim]
    ids = result.line
    made = made_of(operand, dim) if ids is not None and (own is None or node.op == "div") else None
    if ids is not None and made:
        # Statistics and scales of a norm that is written out: they go with the channel, and are never set to zero.
        walker.expose(result)
        walker.lift(result)
        for name, axis in made:
            walker.tie(name, axis, ids, "stat", wide=True)
    elif parameter is None or own is None or ids is None or node.op == "div":
        walker.pin(result.ids, f"{node.op} ({node.name}) combines them with a tensor whose channels are fixed")
    else:
        walker.expose(result)
        walker.tie(parameter[0], own, ids, "out", wide=True)
