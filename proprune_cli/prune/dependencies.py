"""Groups of coupled channels: which slices of which parameters must be removed together.

Two channels are coupled when an operator reads or writes them as one (an addition, a depthwise convolution, a shared
weight). The coupled channels are the connected components of that relation; components that touch the same parameter
axes in the same way form a `Group`. This is the dependency graph of Fang et al. 2023 ("DepGraph"), channel by channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from proprune_cli.prune.channels import Ids, Labels, LayerRecord, Role, Tie, Walker
from proprune_cli.prune.rules import RULES
from proprune_cli.prune.trace import Traced, op_name, shape_of, trace


@dataclass(frozen=True)
class Member:
    """Slices ``index[c]`` of axis ``dim`` of parameter or buffer ``tensor`` belong to channel c of the group."""

    tensor: str
    dim: int
    index: Ids
    """int64 [channels, slices per channel]."""
    role: Role


@dataclass(frozen=True)
class Group:
    """Channels that are interchangeable: each of them can go by itself, with its slices everywhere."""

    name: str
    channels: int
    members: tuple[Member, ...]
    reasons: tuple[str, ...]
    """Why the group must stay; empty where it may be pruned."""
    lifted: bool
    """True where a channel passes through f with f(0) ≠ 0 before it is read."""

    @property
    def prunable(self) -> bool:
        """True where channels may be removed."""
        return not self.reasons

    @property
    def layers(self) -> tuple[str, ...]:
        """Modules that make these channels."""
        makers = dict.fromkeys(m.tensor.rpartition(".")[0] for m in self.members if m.role == "out")
        return tuple(makers)


@dataclass(frozen=True)
class ChannelMap:
    """The groups and layers of one network."""

    groups: tuple[Group, ...]
    layers: tuple[LayerRecord, ...]
    shapes: dict[str, tuple[int, ...]]
    """Shape of every parameter."""

    @property
    def prunable(self) -> tuple[Group, ...]:
        """Groups that may be pruned."""
        return tuple(g for g in self.groups if g.prunable)


def analyse(
    model: nn.Module,
    example: torch.Tensor,
    exclude: tuple[str, ...] = (),
    where: str = "model",
    pin_reshapes: bool = False,
) -> ChannelMap:
    """Channel groups of ``model`` for inputs like ``example`` (float32 [2, C, H, W]).

    Args:
        exclude: modules (or prefixes of their names) whose output channels must stay.
        pin_reshapes: keep every channel that passes through a view or reshape.

    Raises:
        UnsupportedError: the network cannot be traced.
    """
    traced = trace(model, example, where)
    walker = _walk(traced, pin_reshapes)
    for tie in list(walker.ties.values()):
        module = tie.tensor.rpartition(".")[0]
        if tie.role == "out" and any(module == e or module.startswith(e + ".") for e in exclude):
            walker.pin(tie.ids, f"excluded by the option ({module})")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    return ChannelMap(tuple(_groups(walker)), tuple(walker.layers), shapes)


def _walk(traced: Traced, pin_reshapes: bool) -> Walker:
    walker = Walker(traced, pin_reshapes)
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            if node.name in traced.inputs:
                shape = shape_of(node)
                labels = Labels(1, walker.fresh(shape[1]))
                walker.pin(labels.ids, "the network's input")
                walker.labels[node] = labels
        elif node.op == "output":
            walker.pin_inputs(node, "the network's output")
        elif node.op == "call_function":
            rule = RULES.get(op_name(node))
            if rule is None:
                walker.pin_inputs(node, f"the operator {op_name(node)} has no channel rule")
                walker.labels[node] = None
            else:
                walker.labels[node] = rule(walker, node)
    return walker


def _components(walker: Walker) -> npt.NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    first = np.concatenate([a for a, _ in walker.edges] or [np.empty(0, np.int64)])
    second = np.concatenate([b for _, b in walker.edges] or [np.empty(0, np.int64)])
    ones = np.ones(len(first), dtype=np.int8)
    matrix = coo_matrix((ones, (first, second)), shape=(walker.count, walker.count))
    return np.asarray(connected_components(matrix, directed=False)[1], dtype=np.int64)


def _groups(walker: Walker) -> list[Group]:
    component = _components(walker)
    reasons: dict[int, dict[str, None]] = {}
    for ids, reason in walker.pins:
        for c in np.unique(component[ids]):
            reasons.setdefault(int(c), {})[reason] = None
    lifted = {int(c) for ids in walker.lifted for c in np.unique(component[ids])}
    ties = list(walker.ties.values())
    slices: dict[int, list[tuple[int, Ids]]] = {}
    """Component → (tie, slices of its axis)."""
    for number, tie in enumerate(ties):
        owner = component[tie.ids]
        order = np.argsort(owner, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])
        for part in np.split(order, starts[1:]):
            slices.setdefault(int(owner[part[0]]), []).append((number, part))
    alike: dict[tuple[object, ...], list[int]] = {}
    for c, parts in slices.items():
        signature = (*((n, len(p)) for n, p in parts), tuple(reasons.get(c, ())), c in lifted)
        alike.setdefault(signature, []).append(c)
    return [_group(ties, slices, members, reasons, lifted) for members in alike.values()]


def _group(
    ties: list[Tie],
    slices: dict[int, list[tuple[int, Ids]]],
    components: list[int],
    reasons: dict[int, dict[str, None]],
    lifted: set[int],
) -> Group:
    # Channel order follows the first parameter axis the group touches.
    components = sorted(components, key=lambda c: int(slices[c][0][1][0]))
    members = tuple(
        Member(
            ties[number].tensor,
            ties[number].dim,
            np.stack([slices[c][position][1] for c in components]),
            ties[number].role,
        )
        for position, (number, _) in enumerate(slices[components[0]])
    )
    makers = [m.tensor for m in members if m.role == "out"]
    owner = (makers or [members[0].tensor])[0]
    name = owner.rpartition(".")[0] or owner
    name = name if makers else f"input of {name}"
    why = tuple(reasons.get(components[0], ()))
    if not why and not any(m.role == "out" for m in members):
        why = ("no parameter makes these channels",)
    return Group(name, len(components), members, why, components[0] in lifted)
