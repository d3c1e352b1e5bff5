"""Steps of the host that follow one another with no layer of the engine between become one step.

A step costs a stop of the engine, a walk through the caches and a call of ONNX Runtime; a chain costs that once. What
passes from one to the next is still rounded to int8 codes, by QuantizeLinear and DequantizeLinear inside the merged
model, so every byte stays what it was. Handled: a step whose result the next one alone reads. Steps beside one another
that each make a tensor stay apart (a step has one result); they share the engine's stop all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from proprune_cli.compile.lower.engine_layer import HostPass
from proprune_cli.ir.nodes import Host as Host
from proprune_cli.ir.quantized import QTensor


def merged(steps: Sequence[HostPass], uses: Mapping[str, int], tensors: Mapping[str, QTensor]) -> tuple[HostPass, ...]:
    """``steps`` with chains merged.

    Args:
        uses: how often each tensor is read, the network's output once more.
        tensors: those that steps read and write, by name.
    """
    done: list[HostPass] = []
    for step in steps:
        while True:
            before = next((h for h in reversed(done) if _only_for(h, step, uses)), None)
            if before is None:
                break
            done.remove(before)
            layer = _joined(before.layer, step.layer, tensors[before.layer.y])
            step = replace(step, layer=layer, xs=layer.xs)
        done.append(step)
    return tuple(done)


def _only_for(before: HostPass, step: HostPass, uses: Mapping[str, int]) -> bool:
    read = step.xs.count(before.layer.y)
    return before.after == step.after and read > 0 and uses.get(before.layer.y, 0) == read


def _joined(a: Host, b: Host, between: QTensor) -> Host:
    """``a`` and then ``b``, which reads ``between``: one model, whose inputs are those of both."""
    first, second = (_named(onnx.load_model_from_string(q.model), part) for q, part in ((a, "a"), (b, "b")))
    xs = tuple(dict.fromkeys((*a.xs, *(x for x in b.xs if x != a.y))))
    names = {x: f"x{i}" for i, x in enumerate(xs)}
    shapes = {x: v for q, m in ((b, second), (a, first)) for x, v in zip(q.xs, m.graph.input, strict=True)}
    nodes: list[onnx.NodeProto] = []
    for q, model in ((a, first), (b, second)):
        given = {v.name: names.get(x, "between") for x, v in zip(q.xs, model.graph.input, strict=True)}
        for node in model.graph.node:
            read = [given.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(read)
            nodes.append(node)
        if q is a:
            y = model.graph.output[0].name
            nodes.append(helper.make_node("QuantizeLinear", [y, "between_scale", "between_zero"], ["between_codes"]))
            back = ["between_codes", "between_scale", "between_zero"]
            nodes.append(helper.make_node("DequantizeLinear", back, ["between"]))
    numbers = {"between_scale": np.asarray(2.0**between.exponent, np.float32), "between_zero": np.zeros((), np.int8)}
    constants = [*first.graph.initializer, *second.graph.initializer]
    constants += [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    inputs: list[onnx.ValueInfoProto] = []
    for x, name in names.items():
        value = onnx.ValueInfoProto()
        value.CopyFrom(shapes[x])
        value.name = name
        inputs.append(value)
    body = helper.make_graph(nodes, "host", inputs, list(second.graph.output), constants)
    opset = max(m.opset_import[0].version for m in (first, second))
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=first.ir_version, producer_name="proprune")
    return Host(b.name, xs, b.y, model.SerializeToString(), a.operators + b.operators, b.shape)


def _named(model: onnx.ModelProto, part: str) -> onnx.ModelProto:
    """``model`` with ``part`` before each name in it, so that two models do not share one."""

    def renamed(name: str) -> str:
        return f"{part}/{name}" if name else ""

    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer, *model.graph.node):
        value.name = renamed(value.name)
    for node in model.graph.node:
        read, made = [renamed(name) for name in node.input], [renamed(name) for name in node.output]
        del node.input[:], node.output[:]
        node.input.extend(read)
        node.output.extend(made)
    return model
