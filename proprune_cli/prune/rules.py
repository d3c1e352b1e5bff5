"""What each ATen operator does to channels. A new operator: one function and one line in `RULES`.

An operator without a rule pins the channels it reads, and the report names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import fx

from proprune_cli.prune.channels import (
    Labels,
    LayerRecord,
    Walker,
    arguments,
    describe,
    flatten_nodes,
    pair,
    rank_of,
)
from proprune_cli.prune.trace import module_of, op_name, shape_of

Rule = Callable[[Walker, fx.Node], Labels | None]


def _layer(walker: Walker, node: fx.Node, kind: str, source: Any, weight: Any, bias: Any, groups: int) -> Labels | None:
    """A layer with a weight: ties its axes and gives its output new channels."""
    name, found = walker.tensor_name(weight), walker.labels_of(source)
    shape = shape_of(weight) if isinstance(weight, fx.Node) else ()
    in_shape, out_shape = shape_of(source), shape_of(node)
    channel_dim = len(out_shape) - 1 if kind == "linear" else 1
    if name is None:
        walker.pin_inputs(node, f"{describe(node)} computes its weights")
        return None
    transposed = kind == "conv_transpose"
    out_dim, in_dim = (1, 0) if transposed else (0, 1)
    in_channels, out_channels = in_shape[channel_dim], out_shape[channel_dim]
    depthwise = groups > 1 and groups == in_channels and not transposed
    out = walker.fresh(out_channels)
    if found is not None and found.dim != channel_dim:
        walker.pin(found.ids, f"{describe(node)} reads another axis than the channels")
        found = None
    if depthwise:
        walker.tie(name, 0, out, "out")
        if found is None:
            walker.pin(out, f"{describe(node)} is depthwise on channels that stay")
        else:
            walker.unite(out, np.repeat(found.ids, out_channels // in_channels))
    elif groups > 1:
        walker.pin(out, f"{describe(node)} is a grouped convolution")
        if found is not None:
            walker.pin(found.ids, f"{describe(node)} is a grouped convolution")
    else:
        walker.tie(name, out_dim, out, "out")
        if found is not None:
            walker.tie(name, in_dim, found.ids, "in")
    if isinstance(bias, fx.Node):
        bias_name = walker.tensor_name(bias)
        if bias_name is None:
            walker.pin(out, f"{describe(node)} computes its bias")
        else:
            walker.tie(bias_name, 0, out, "out")
    kernel = tuple(shape[2:])
    in_size, out_size = (in_shape[2:], out_shape[2:]) if kind != "linear" else ((1, 1), (1, 1))
    applied = math.prod(in_size if transposed else out_size) if kind != "linear" else math.prod(out_shape[1:-1])
    stride = pair(arguments(node).get("stride", 1), len(kernel)) if kernel else (1, 1)
    walker.layers.append(
        LayerRecord(
            name=module_of(node) or node.name,
            kind=kind,
            weight=name,
            in_dim=in_dim,
            out_dim=out_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            groups=groups,
            kernel=kernel or (1, 1),
            stride=stride,
            in_size=in_size,
            out_size=out_size,
            depthwise=depthwise,
            positions=applied * math.prod(kernel),
        )
    )
    return Labels(channel_dim, out)


def _conv(walker: Walker, node: fx.Node) -> Labels | None:
    values = arguments(node)
    transposed = "transpose" in op_name(node) or bool(values.get("transposed"))
    kind = "conv_transpose" if transposed else "conv"
    return _layer(walker, node, kind, values["input"], values["weight"], values["bias"], int(values["groups"]))


def _linear(walker: Walker, node: fx.Node) -> Labels | None:
    values = arguments(node)
    return _layer(walker, node, "linear", values["input"], values["weight"], values["bias"], 1)


def _batch_norm(walker: Walker, node: fx.Node) -> Labels | None:
    values = arguments(node)
    found = walker.labels_of(values["input"])
    if found is None:
        return None
    for argument, role in (("weight", "out"), ("bias", "out"), ("running_mean", "out"), ("running_var", "stat")):
        tensor = values.get(argument)
        if isinstance(tensor, fx.Node):
            name = walker.tensor_name(tensor)
            if name is None or found.dim != 1:
                walker.pin(found.ids, f"{describe(node)} normalises by computed values")
            else:
                walker.tie(name, 0, found.ids, role)  # pyright: ignore[reportArgumentType]
    return found


def _same(walker: Walker, node: fx.Node) -> Labels | None:
    """Works on each channel by itself and keeps 0 at 0."""
    source = node.args[0]
    return walker.labels_of(source)


def _lifting(walker: Walker, node: fx.Node) -> Labels | None:
    """Works on each channel by itself, but 0 becomes something else."""
    found = walker.labels_of(node.args[0])
    if found is not None:
        walker.lift(found.ids)
    return found


def _clamp(walker: Walker, node: fx.Node) -> Labels | None:
    bounds = [a for a in node.args[1:] if isinstance(a, (int, float))]
    keeps_zero = (len(bounds) == 2 and bounds[0] <= 0 <= bounds[1]) or (len(bounds) == 1 and bounds[0] == 0)
    return _same(walker, node) if keeps_zero else _lifting(walker, node)


def _elementwise(walker: Walker, node: fx.Node) -> Labels | None:
    """Operands of one shape, or broadcast: channels at the same place are the same channel."""
    rank, shape = rank_of(node), shape_of(node)
    main: Labels | None = None
    operands = flatten_nodes(node.args)
    for operand in operands:
        found = walker.labels_of(operand)
        if found is None:
            continue
        dim = found.dim + rank - rank_of(operand)
        if len(found.ids) != shape[dim] or (main is not None and main.dim != dim):
            walker.pin(found.ids, f"{describe(node)} broadcasts over channels")
            if main is not None:
                walker.pin(main.ids, f"{describe(node)} broadcasts over channels")
        elif main is None:
            main = Labels(dim, found.ids)
        else:
            walker.unite(main.ids, found.ids)
    if main is None:
        return None
    for operand in operands:
        if walker.labels_of(operand) is not None:
            continue
        own = shape_of(operand)
        dim = main.dim - rank + len(own)
        if dim < 0 or own[dim] == 1:
            if op_name(node) in ("add", "sub", "rsub"):
                walker.lift(main.ids)
            continue
        name = walker.tensor_name(operand)
        if name is None:
            walker.pin(main.ids, f"{describe(node)} combines them with a tensor whose channels are fixed")
        else:
            walker.tie(name, dim, main.ids, "out")
    scalars = any(isinstance(a, (int, float)) for a in node.args[:2])
    if op_name(node) in ("add", "sub", "rsub") and scalars:
        walker.lift(main.ids)
    return main


def _divide(walker: Walker, node: fx.Node) -> Labels | None:
    divisor = node.args[1]
    found = walker.labels_of(divisor)
    if found is not None or walker.tensor_name(divisor) is not None:
        walker.pin_inputs(node, f"{describe(node)} divides by a tensor, which would be zero for a removed channel")
        return None
    return _elementwise(walker, node)


def _prelu(walker: Walker, node: fx.Node) -> Labels | None:
    found, weight = walker.labels_of(node.args[0]), node.args[1]
    name = walker.tensor_name(weight)
    if found is None:
        return None
    if name is None or found.dim != 1:
        walker.pin(found.ids, f"{describe(node)} computes its slope")
    elif isinstance(weight, fx.Node) and shape_of(weight) == (len(found.ids),) and len(found.ids) > 1:
        walker.tie(name, 0, found.ids, "stat")
    return found


def _view(walker: Walker, node: fx.Node) -> Labels | None:
    """Reshapes that keep the channel axis, or merge it with the axes after it (a flatten)."""
    source = node.args[0]
    found = walker.labels_of(source)
    if found is None or not isinstance(source, fx.Node):
        return None
    before, after = shape_of(source), shape_of(node)
    if walker.pin_reshapes and op_name(node) != "flatten":
        walker.pin(found.ids, f"{describe(node)} names the number of features; torch.flatten(x, 1) would not")
        return None
    lead = before[: found.dim]
    channels = len(found.ids)
    if after[: found.dim] == lead and len(after) > found.dim:
        size = after[found.dim]
        if size == channels:
            return Labels(found.dim, found.ids)
        trailing, taken = 1, found.dim + 1
        while taken < len(before) and channels * trailing < size:
            trailing *= before[taken]
            taken += 1
        if channels * trailing == size:
            return Labels(found.dim, np.repeat(found.ids, trailing))
    walker.pin(found.ids, f"{describe(node)} rearranges channels, {list(before)} to {list(after)}")
    return None


def _reduce(walker: Walker, node: fx.Node) -> Labels | None:
    source, values = node.args[0], arguments(node)
    found = walker.labels_of(source)
    if found is None or not isinstance(source, fx.Node):
        return None
    rank = rank_of(source)
    dims = values.get("dim")
    axes = {int(d) % rank for d in (dims if isinstance(dims, Sequence) else [dims])} if dims is not None else None
    if axes is None or not axes or found.dim in axes:
        walker.pin(found.ids, f"{describe(node)} reduces over channels")
        return None
    gone = 0 if values.get("keepdim") else sum(a < found.dim for a in axes)
    return Labels(found.dim - gone, found.ids)


def _move(walker: Walker, node: fx.Node) -> Labels | None:
    """permute, transpose, squeeze, unsqueeze."""
    source = node.args[0]
    found = walker.labels_of(source)
    if found is None or not isinstance(source, fx.Node):
        return None
    values, rank, name = arguments(node), rank_of(source), op_name(node)
    if name == "permute":
        order = [int(d) % rank for d in values["dims"]]
        return Labels(order.index(found.dim), found.ids)
    if name == "transpose":
        first, second = int(values["dim0"]) % rank, int(values["dim1"]) % rank
        return Labels({first: second, second: first}.get(found.dim, found.dim), found.ids)
    if name == "unsqueeze":
        axis = int(values["dim"]) % (rank + 1)
        return Labels(found.dim + (axis <= found.dim), found.ids)
    dims = values.get("dim")
    asked = range(rank) if dims is None else [int(d) % rank for d in (dims if isinstance(dims, Sequence) else [dims])]
    gone = [d for d in asked if shape_of(source)[d] == 1]
    if found.dim in gone:
        return None
    return Labels(found.dim - sum(d < found.dim for d in gone), found.ids)


def _cat(walker: Walker, node: fx.Node) -> Labels | None:
    values = arguments(node)
    tensors: list[fx.Node] = list(values["tensors"])
    axis = int(values["dim"]) % rank_of(node)
    parts = [walker.labels_of(t) for t in tensors]
    dims = {p.dim for p in parts if p is not None}
    if not dims:
        return None
    if len(dims) > 1 or (axis not in dims and any(p is None for p in parts)):
        walker.pin_inputs(node, f"{describe(node)} joins tensors whose channels lie on different axes")
        return None
    dim = dims.pop()
    if axis != dim:
        present = [p for p in parts if p is not None]
        for other in present[1:]:
            walker.unite(present[0].ids, other.ids)
        return present[0]
    joined = []
    for tensor, part in zip(tensors, parts, strict=True):
        ids = walker.fresh(shape_of(tensor)[dim]) if part is None else part.ids
        if part is None:
            walker.pin(ids, f"{describe(node)} joins a tensor whose channels are fixed")
        joined.append(ids)
    return Labels(dim, np.concatenate(joined))


def _pad(walker: Walker, node: fx.Node) -> Labels | None:
    source, values = node.args[0], arguments(node)
    found = walker.labels_of(source)
    if found is None or not isinstance(source, fx.Node):
        return None
    axes = len(values["pad"]) // 2
    if found.dim >= rank_of(source) - axes:
        walker.pin(found.ids, f"{describe(node)} pads channels")
        return None
    if values.get("value"):
        walker.lift(found.ids)
    return found


def _expand(walker: Walker, node: fx.Node) -> Labels | None:
    source = node.args[0]
    found = walker.labels_of(source)
    if found is None or not isinstance(source, fx.Node):
        return None
    dim = found.dim + rank_of(node) - rank_of(source)
    if shape_of(node)[dim] != len(found.ids):
        walker.pin(found.ids, f"{describe(node)} repeats channels")
        return None
    return Labels(dim, found.ids)


def _table(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_table(
        _conv,
        "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d",
    ),
    **_table(_linear, "linear"),
    **_table(_batch_norm, "batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm"),
    **_table(
        _same,
        "relu relu6 leaky_relu elu selu celu gelu silu mish hardswish tanh dropout feature_dropout alpha_dropout neg "
        "abs sqrt square clone contiguous detach alias to _to_copy lift_fresh_copy getitem max_pool2d avg_pool2d "
        "max_pool2d_with_indices adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d "
        "upsample_bilinear2d",
    ),
    **_table(_lifting, "sigmoid hardsigmoid exp softplus log_sigmoid"),
    **_table(_clamp, "clamp clamp_min clamp_max hardtanh"),
    **_table(_elementwise, "add sub mul maximum minimum rsub"),
    **_table(_divide, "div"),
    **_table(_prelu, "prelu _prelu_kernel"),
    **_table(_view, "flatten view reshape _unsafe_view"),
    **_table(_reduce, "mean sum amax"),
    **_table(_move, "permute transpose squeeze unsqueeze"),
    **_table(_cat, "cat concat"),
    **_table(_pad, "pad constant_pad_nd"),
    **_table(_expand, "expand expand_as"),
}
