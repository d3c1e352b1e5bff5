"""Channel rules of operators with parameters: convolutions, fully connected layers, norms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import nn

from proprune_cli.channels.labels import Ids, Labels, LayerRecord, Role, Walker, owner_of, pair
from proprune_cli.channels.recorder import Node
from proprune_cli.work.layer import Kind, LayerWork

_RESHAPES = frozenset({"view", "reshape", "_unsafe_view", "unsqueeze", "squeeze"})
_COPIES = frozenset({"clone", "contiguous", "detach", "alias", "_to_copy"})


def parameter_of(node: Any) -> tuple[str, tuple[int | None, ...]] | None:
    """Parameter or buffer that ``node`` is a view of: its name, and for each axis of the node the parameter's axis.

    None where it is something computed.
    """
    if not isinstance(node, Node):
        return None
    if node.op == "parameter":
        return node.tensor, tuple(range(len(node.shape)))
    source = node.arguments.get("self")
    found = parameter_of(source)
    if found is None or not isinstance(source, Node):
        return None
    name, axes = found
    rank = len(source.shape)
    if node.op in _COPIES:
        return found
    if node.op == "t":
        return name, axes[::-1]
    if node.op == "transpose":
        order = list(range(rank))
        a, b = int(node.arguments["dim0"]) % rank, int(node.arguments["dim1"]) % rank
        order[a], order[b] = order[b], order[a]
        return name, tuple(axes[i] for i in order)
    if node.op == "permute":
        return name, tuple(axes[int(d) % rank] for d in node.arguments["dims"])
    if node.op in _RESHAPES and [s for s in source.shape if s > 1] == [s for s in node.shape if s > 1]:
        longer = iter([axis for axis, size in zip(axes, source.shape, strict=True) if size > 1])
        return name, tuple(next(longer) if size > 1 else None for size in node.shape)
    return None


def goes_by_whole_groups(groups: int, inside: int) -> bool:
    """Whether a grouped convolution with ``inside`` input channels per group loses whole groups.

    Otherwise every group loses the same channels. Many groups of few channels (depthwise, ResNeXt) have little to give
    inside, few groups of many channels little outside.
    """
    return groups > 1 and groups >= inside


def _layer(walker: Walker, node: Node, kind: Kind, source: Node, weight: Any, bias: Any, groups: int) -> Labels | None:
    """A layer with a weight: ties its axes and gives its output new channels."""
    parameter, found = parameter_of(weight), walker.of(source)
    dim = len(node.shape) - 1 if kind == "linear" else 1
    if parameter is None or None in parameter[1]:
        return _computed(walker, node, weight, dim)
    name, axes = parameter
    owner = owner_of(name)
    out_dim, in_dim = (1, 0) if kind in ("conv_transpose", "linear") else (0, 1)  # a linear one reads W transposed
    out_dim, in_dim = int(axes[out_dim] or 0), int(axes[in_dim] or 0)
    in_channels, out_channels = source.shape[dim], node.shape[dim]
    out = walker.fresh(out_channels)
    if found is not None and (found.axis != dim or found.line is None):
        walker.pin(found.ids, f"{node.op} ({owner}) reads another axis than the channels")
        found = None
    inside = found.line if found is not None else None
    whole = goes_by_whole_groups(groups, in_channels // groups) or (groups > 1 and kind == "conv_transpose")
    if whole:
        _whole_groups(walker, owner, groups, inside, out)
        if found is not None:
            walker.take_up(found, owner)
        if kind == "conv_transpose" and inside is not None:
            walker.tie(name, 0, inside, "out")
        else:
            walker.tie(name, out_dim, out, "out")
    else:
        walker.tie(name, out_dim, out, "out", maker=True)
        if groups > 1:
            rows = out.reshape(groups, -1)
            walker.unite(rows[:1], rows[1:])
        if found is not None and inside is not None:
            walker.expose(found)
            rows = inside.reshape(groups, -1)
            if groups > 1:
                walker.unite(rows[:1], rows[1:])
            walker.tie(name, in_dim, rows[0], "in")
    if isinstance(bias, Node):
        _tie_all(walker, node, bias, out, "out")
    walker.leave(owner, out)
    _record(walker, node, kind, source, name, (in_dim, out_dim), groups, whole, inside)
    return _labels(walker, node, dim, out, owner)


def _computed(walker: Walker, node: Node, weight: Any, dim: int) -> Labels:
    """A layer whose weights are no parameter but made of some: what it reads stays, and so does what it gives."""
    made_of = sorted(set(_parameters_behind(weight)))
    owner = owner_of(made_of[0]) if made_of else node.name
    reason = f"{node.op} ({owner}) computes its weights"
    walker.pin_inputs(node, reason)
    out = walker.fresh(node.shape[dim])
    walker.pin(out, reason)
    walker.leave(owner, out)
    return _labels(walker, node, dim, out, owner)


def _parameters_behind(node: Any) -> Iterator[str]:
    if isinstance(node, Node):
        if node.tensor:
            yield node.tensor
        for source in node.sources:
            yield from _parameters_behind(source)


def _labels(walker: Walker, node: Node, dim: int, ids: Ids, owner: str) -> Labels:
    if len(ids) == 1:
        walker.pin(ids, f"the only channel of {owner}")
    shape = [1] * len(node.shape)
    shape[dim] = len(ids)
    return Labels(ids.reshape(shape), dim, frozenset({owner}))


def _whole_groups(walker: Walker, owner: str, groups: int, inside: Ids | None, out: Ids) -> None:
    if inside is None:
        walker.pin(out, f"the grouped convolution {owner} reads channels that stay")
        return
    if not isinstance(walker.modules.get(owner), (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d,
                                                  nn.ConvTranspose2d, nn.ConvTranspose3d)):  # fmt: skip
        walker.pin(out, f"the grouped convolution {owner} is no module whose groups could be changed")
        walker.pin(inside, f"the grouped convolution {owner} is no module whose groups could be changed")
    rows, made = inside.reshape(groups, -1), out.reshape(groups, -1)
    walker.unite(rows[:, :1], rows)
    walker.unite(made[:, :1], made)
    walker.unite(rows[:, 0], made[:, 0])
    walker.whole[owner] = (groups, out)


def _tie_all(walker: Walker, node: Node, tensor: Any, ids: Ids, role: Role) -> None:
    parameter = parameter_of(tensor)
    axis = None if parameter is None else [a for a in parameter[1] if a is not None]
    if parameter is None or axis is None or len(axis) != 1:
        walker.pin(ids, f"{node.op} ({node.name}) computes a parameter")
    else:
        walker.tie(parameter[0], axis[0], ids, role)


def _record(
    walker: Walker,
    node: Node,
    kind: Kind,
    source: Node,
    weight: str,
    dims: tuple[int, int],
    groups: int,
    whole: bool,
    inside: Ids | None,
) -> None:
    axis = len(node.shape) - 1 if kind == "linear" else 1
    kernel: tuple[int, ...] = (1, 1)
    in_size, out_size, stride = (1, 1), (1, 1), (1, 1)
    channels = source.shape[axis]
    dilation: tuple[int, ...] = ()
    pads: tuple[int, ...] | None = None
    if kind == "linear":
        applied = math.prod(node.shape[:-1]) // walker.batch
        in_size = out_size = (1, applied)
        pixels = _pixels(inside)
        if applied == 1 and pixels > 1:
            # Flattened pixels: a convolution over the whole map.
            kernel, in_size, channels = (1, pixels), (1, pixels), channels // pixels
    else:
        kernel = tuple(node.arguments["weight"].shape[2:])
        stride = pair(node.arguments["stride"], len(kernel))
        dilation, pads = pair(node.arguments["dilation"], len(kernel)), pair(node.arguments["padding"], len(kernel))
        in_size, out_size = source.shape[2:], node.shape[2:]
        applied = math.prod(in_size if kind == "conv_transpose" else out_size)
    positions = applied * math.prod(kernel)
    walker.layers.append(
        LayerRecord(
            work=LayerWork(
                name=owner_of(weight) or node.name,
                kind=kind,
                in_channels=channels,
                out_channels=node.shape[axis],
                groups=groups,
                kernel=kernel,
                stride=stride,
                in_size=in_size,
                out_size=out_size,
                macs=positions * node.shape[axis] * channels // groups,
                dilation=dilation,
                pads=pads,
            ),
            weight=weight,
            in_dim=dims[0],
            out_dim=dims[1],
            whole_groups=whole,
            positions=positions,
        )
    )


def _pixels(inside: Ids | None) -> int:
    """How many inputs of a fully connected layer each channel makes, one after the other; 1 where they are mixed."""
    if inside is None:
        return 1
    pixels = len(inside) // len(np.unique(inside))
    rows = inside[: len(inside) // pixels * pixels].reshape(-1, pixels)
    return pixels if rows.size == len(inside) and bool((rows == rows[:, :1]).all()) else 1


def convolution(walker: Walker, node: Node) -> Labels | None:
    """Also transposed, grouped and depthwise."""
    a = node.arguments
    kind: Kind = "conv_transpose" if a["transposed"] else "conv"
    return _layer(walker, node, kind, a["input"], a["weight"], a["bias"], int(a["groups"]))


def addmm(walker: Walker, node: Node) -> Labels | None:
    """Fully connected, with bias."""
    a = node.arguments
    return _layer(walker, node, "linear", a["mat1"], a["mat2"], a["self"], 1)


def mm(walker: Walker, node: Node) -> Labels | None:
    """Fully connected, without bias."""
    a = node.arguments
    return _layer(walker, node, "linear", a["self"], a.get("mat2", a.get("other")), None, 1)


def linear(walker: Walker, node: Node) -> Labels | None:
    """Fully connected where it is one operator."""
    a = node.arguments
    weight = a["weight"]
    turned = Node("t", f"{node.name}_t", {"self": weight}, weight.shape[::-1])
    return _layer(walker, node, "linear", a["input"], turned, a["bias"], 1)


def batch_norm(walker: Walker, node: Node) -> list[Labels | None] | None:
    """Scale, shift and statistics belong to channels."""
    a = node.arguments
    found = walker.of(a["input"])
    if found is None:
        return None
    ids = found.line
    if found.axis != 1 or ids is None:
        walker.pin_inputs(node, f"{node.op} ({node.name}) normalises another axis than the channels")
        return [found, None, None]
    owner = ""
    roles: dict[str, Role] = {"weight": "out", "bias": "out", "running_mean": "out", "running_var": "stat"}
    for argument, role in roles.items():
        tensor, own = a.get(argument), ids
        if not isinstance(tensor, Node):
            continue
        if tensor.op == "repeat" and len(ids) % tensor.sources[0].shape[0] == 0:
            # An instance norm: a batch norm of all images' channels, with one set of parameters for each image.
            tensor = tensor.sources[0]
            own = ids[: tensor.shape[0]]
        _tie_all(walker, node, tensor, own, role)
        owner = owner or owner_of(tensor.tensor)
    if not owner:
        return [found, None, None]
    if len(ids) != len(np.unique(ids)):
        return [found, None, None]
    walker.take_up(found, owner)
    walker.leave(owner, ids)
    return [Labels(found.ids, 1, frozenset({owner})), None, None]


def group_norm(walker: Walker, node: Node) -> list[Labels | None] | None:
    """Channels of one group share their statistics, so whole groups go."""
    a = node.arguments
    found = walker.of(a["input"])
    if found is None:
        return None
    groups, weight = int(a["group"]), parameter_of(a["weight"])
    owner = "" if weight is None else owner_of(weight[0])
    ids = found.line
    if groups == 1 or ids is None or found.axis != 1 or not isinstance(walker.modules.get(owner), nn.GroupNorm):
        walker.pin_inputs(node, f"{node.op} ({owner or node.name}) normalises over channels")
        return [found, None, None]
    rows = ids.reshape(groups, -1)
    walker.unite(rows[:, :1], rows)
    _tie_all(walker, node, a["weight"], ids, "out")
    _tie_all(walker, node, a["bias"], ids, "out")
    walker.whole[owner] = (groups, ids)
    walker.take_up(found, owner)
    walker.leave(owner, ids)
    return [Labels(found.ids, 1, frozenset({owner})), None, None]


def prelu(walker: Walker, node: Node) -> Labels | None:
    """One slope per channel, or one for all."""
    weight = node.arguments["weight"]
    found = walker.of(node.arguments["self"])
    if found is None or not isinstance(weight, Node) or int(np.prod(weight.shape)) == 1:
        return found
    ids, parameter = found.line, parameter_of(weight)
    if ids is None or parameter is None or found.axis != 1:
        walker.pin_inputs(node, f"{node.op} ({node.name}) computes its slope")
        return found
    owner = owner_of(parameter[0])
    _tie_all(walker, node, weight, ids, "stat")
    walker.take_up(found, owner)
    walker.leave(owner, ids)
    return Labels(found.ids, 1, frozenset({owner}))
