"""How each ONNX operator becomes a PyTorch layer. A new operator: one function and one line in `RULES`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import onnx
import torch
import torch.nn.functional as nnf
from torch import fx, nn

from proprune_cli.nets.onnx_state import ImportState, as_parameter, attributes, refuse

Rule = Callable[[onnx.NodeProto, ImportState], fx.Node]


def _pads(node: onnx.NodeProto, values: dict[str, Any], state: ImportState) -> tuple[tuple[int, int], bool]:
    """Symmetric padding (height, width), and whether a pad layer must come first for an asymmetric one."""
    if values.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise refuse(node, "auto_pad other than VALID", state.where)
    top, left, bottom, right = values.get("pads") or (0, 0, 0, 0)
    if (top, left) == (bottom, right):
        return (top, left), False
    return (0, 0), True


def _pad_first(node: onnx.NodeProto, state: ImportState, fill: float) -> fx.Node:
    top, left, bottom, right = attributes(node)["pads"]
    source = state.value(node.input[0])
    return state.graph.call_function(nnf.pad, (source, (left, right, top, bottom), "constant", fill))


def _constant(node: onnx.NodeProto, index: int, state: ImportState) -> Any:
    name = node.input[index] if index < len(node.input) else ""
    if not name:
        return None
    if name not in state.constants:
        raise refuse(node, f"input {index} ({name!r}) is computed, not constant", state.where)
    return state.constants[name]


def _conv(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    values = attributes(node)
    weight, bias = _constant(node, 1, state), _constant(node, 2, state)
    if weight.ndim != 4:
        raise refuse(node, f"a kernel of {weight.ndim - 2} dimensions", state.where)
    padding, pad_first = _pads(node, values, state)
    groups = int(values.get("group", 1))
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        weight.shape[2:],
        tuple(values.get("strides", (1, 1))),
        padding,
        tuple(values.get("dilations", (1, 1))),
        groups,
        bias is not None,
    )
    layer.weight = as_parameter(weight)
    if bias is not None:
        layer.bias = as_parameter(bias)
    call = state.call_module(node, layer, node.input[0])
    if pad_first:
        with state.graph.inserting_before(call):
            call.args = (_pad_first(node, state, 0.0),)
    return call


def _batch_norm(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    scale, shift, mean, variance = (_constant(node, i, state) for i in range(1, 5))
    layer = nn.BatchNorm2d(len(scale), eps=float(attributes(node).get("epsilon", 1e-5)))
    layer.weight, layer.bias = as_parameter(scale), as_parameter(shift)
    layer.running_mean = torch.from_numpy(np.array(mean, dtype=np.float32))
    layer.running_var = torch.from_numpy(np.array(variance, dtype=np.float32))
    return state.call_module(node, layer, node.input[0])


def _gemm(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    values = attributes(node)
    weight, bias = _constant(node, 1, state), _constant(node, 2, state)
    if values.get("transA", 0):
        raise refuse(node, "transA=1", state.where)
    weight = (weight if values.get("transB", 0) else weight.T) * float(values.get("alpha", 1.0))
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    layer.weight = as_parameter(weight)
    if bias is not None:
        layer.bias = as_parameter(np.broadcast_to(bias * float(values.get("beta", 1.0)), weight.shape[:1]))
    return state.call_module(node, layer, node.input[0])


def _matmul(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    weight = _constant(node, 1, state)
    if weight.ndim != 2:
        raise refuse(node, f"a weight of {weight.ndim} dimensions", state.where)
    layer = nn.Linear(weight.shape[0], weight.shape[1], bias=False)
    layer.weight = as_parameter(weight.T)
    return state.call_module(node, layer, node.input[0])


def _pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Rule:
    def rule(node: onnx.NodeProto, state: ImportState) -> fx.Node:
        values = attributes(node)
        padding, pad_first = _pads(node, values, state)
        kernel = tuple(values["kernel_shape"])
        if len(kernel) != 2 or (kind is nn.AvgPool2d and any(d != 1 for d in values.get("dilations", (1, 1)))):
            raise refuse(node, "only undilated two-dimensional pooling", state.where)
        stride = tuple(values.get("strides", (1, 1)))
        ceil = bool(values.get("ceil_mode", 0))
        include = bool(values.get("count_include_pad", 0))
        if kind is nn.AvgPool2d:
            if pad_first and not include:
                raise refuse(node, "asymmetric padding that the average does not count", state.where)
            layer: nn.Module = nn.AvgPool2d(kernel, stride, padding, ceil, include)
        else:
            layer = nn.MaxPool2d(kernel, stride, padding, tuple(values.get("dilations", (1, 1))), ceil_mode=ceil)
        call = state.call_module(node, layer, node.input[0])
        if pad_first:
            with state.graph.inserting_before(call):
                call.args = (_pad_first(node, state, 0.0 if kind is nn.AvgPool2d else float("-inf")),)
        return call

    return rule


def _layer(make: Callable[[dict[str, Any]], nn.Module]) -> Rule:
    def rule(node: onnx.NodeProto, state: ImportState) -> fx.Node:
        return state.call_module(node, make(attributes(node)), node.input[0])

    return rule


def _clip(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    values = attributes(node)
    low, high = (_constant(node, i, state) for i in (1, 2))
    low = float(values.get("min", -np.inf) if low is None else low)
    high = float(values.get("max", np.inf) if high is None else high)
    return state.graph.call_function(torch.clamp, (state.value(node.input[0]), low, high))


def _binary(function: Callable[..., Any]) -> Rule:
    def rule(node: onnx.NodeProto, state: ImportState) -> fx.Node:
        operands: list[fx.Node | float] = []
        for name in node.input:
            constant = state.constants.get(name)
            if constant is None:
                operands.append(state.value(name))
            elif constant.size == 1:
                operands.append(float(constant.reshape(-1)[0]))
            elif node.op_type == "Add" and (bias := _bias_of(node, constant, state)) is not None:
                return bias
            elif constant.dtype.kind == "f" and constant.shape[-2:] == (1, 1) and constant.size == constant.shape[-3]:
                operands.append(state.buffer(node, constant))  # one value for each channel
            else:
                raise refuse(node, "an operand is a constant of more than one value", state.where)
        return state.graph.call_function(function, tuple(operands))

    return rule


def _bias_of(node: onnx.NodeProto, constant: Any, state: ImportState) -> fx.Node | None:
    """MatMul followed by Add of a vector is one fully connected layer; None where it is not that."""
    source = next(n for n in node.input if n not in state.constants)
    producer = state.values.get(source)
    layer = state.modules.get(str(producer.target)) if producer is not None and producer.op == "call_module" else None
    if not isinstance(layer, nn.Linear) or constant.size != layer.out_features or producer is None or producer.users:
        return None
    if cast("nn.Parameter | None", layer.bias) is not None:
        return None
    layer.bias = as_parameter(constant.reshape(-1))
    return producer


def _flatten(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    if int(attributes(node).get("axis", 1)) != 1:
        raise refuse(node, "an axis other than 1", state.where)
    return state.graph.call_function(torch.flatten, (state.value(node.input[0]), 1))


def _reshape(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    """To [batch, everything else] it is a flatten, so that it follows when channels go.

    A shape computed at run time (``x.view(x.size(0), -1)`` leaves one) is taken for that; the comparison with ONNX
    Runtime after the import refuses the file where it is another.
    """
    target = state.constants.get(node.input[1])
    known = state.shapes.get(node.output[0], ())
    if (target is not None and len(target) != 2) or len(known) not in (0, 2):
        raise refuse(node, "a shape other than [batch, features]", state.where)
    return state.graph.call_function(torch.flatten, (state.value(node.input[0]), 1))


def _reduce_mean(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    values = attributes(node)
    axes = values.get("axes") or _constant(node, 1, state)
    if axes is None or sorted(int(a) % 4 for a in axes) != [2, 3]:
        raise refuse(node, "axes other than height and width", state.where)
    keep = bool(values.get("keepdims", 1))
    return state.graph.call_function(torch.mean, (state.value(node.input[0]),), {"dim": (2, 3), "keepdim": keep})


def _concat(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    tensors = [state.value(name) for name in node.input]
    return state.graph.call_function(torch.cat, (tensors, int(attributes(node)["axis"])))


def _squeeze(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    axes = attributes(node).get("axes") or _constant(node, 1, state)
    if axes is None or sorted(int(a) % 4 for a in axes) != [2, 3]:
        raise refuse(node, "axes other than height and width", state.where)
    return state.graph.call_function(torch.flatten, (state.value(node.input[0]), 1))


def _identity(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    return state.value(node.input[0])


def _hard_sigmoid(node: onnx.NodeProto, state: ImportState) -> fx.Node:
    if abs(float(attributes(node).get("alpha", 0.2)) - 1 / 6) > 1e-6:
        raise refuse(node, "a slope other than 1/6", state.where)
    return state.call_module(node, nn.Hardsigmoid(), node.input[0])


RULES: dict[str, Rule] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool(nn.MaxPool2d),
    "AveragePool": _pool(nn.AvgPool2d),
    "GlobalAveragePool": _layer(lambda _: nn.AdaptiveAvgPool2d(1)),
    "GlobalMaxPool": _layer(lambda _: nn.AdaptiveMaxPool2d(1)),
    "ReduceMean": _reduce_mean,
    "Relu": _layer(lambda _: nn.ReLU()),
    "LeakyRelu": _layer(lambda a: nn.LeakyReLU(float(a.get("alpha", 0.01)))),
    "Sigmoid": _layer(lambda _: nn.Sigmoid()),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _layer(lambda _: nn.Hardswish()),
    "Tanh": _layer(lambda _: nn.Tanh()),
    "Clip": _clip,
    "Add": _binary(operator.add),
    "Sub": _binary(operator.sub),
    "Mul": _binary(operator.mul),
    "Div": _binary(operator.truediv),
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Identity": _identity,
    "Dropout": _layer(lambda a: nn.Dropout(float(a.get("ratio", 0.5)))),
}
