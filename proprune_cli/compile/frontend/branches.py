"""``If`` whose condition follows from constants and shapes: the branch that is taken stands in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper

from proprune_cli.accel.host import plain_session
from proprune_cli.compile.frontend.read import reach
from proprune_cli.errors import UnsupportedError

REPEATING = frozenset({"Loop", "Scan"})
"""Operators that may run for long; a condition that they have a part in is not evaluated."""


def without_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each ``If`` whose condition does not depend on the image's values replaced by one of its branches.

    Conditions are those of one image, as `read.the_input` declares it.

    Raises:
        UnsupportedError: an ``If`` that the outputs depend on cannot be decided so; names the node.
    """
    tried: set[str] = set()
    while True:
        found = next((i for i, node in enumerate(model.graph.node) if _may_be_taken(model, node, tried)), None)
        if found is None:
            break
        node = model.graph.node[found]
        tried.add(node.output[0])
        taken = _condition(model, node.input[0])
        branch = None if taken is None else _branch(node, taken)
        if branch is not None:
            model = _replaced(model, found, branch)
    needed = reach(model)
    for node in model.graph.node:
        if node.op_type == "If" and needed.intersection(node.output):
            raise UnsupportedError(
                f"If {node.name or node.output[0]!r} is not supported: its condition {''.join(node.input[:1])!r} is "
                "decided by the image's values, or cannot be evaluated",
                where=f"node {node.name or node.output[0]!r} (If)",
                remedy="trace the module instead of scripting it, or compute both branches and choose by arithmetic",
            )
    return model


def _may_be_taken(model: onnx.ModelProto, node: onnx.NodeProto, tried: set[str]) -> bool:
    if node.op_type != "If" or not node.input or not node.output or node.output[0] in tried:
        return False
    return node.input[0] not in _image_values(model)


def _image_values(model: onnx.ModelProto) -> set[str]:
    """Names whose values depend on the input's, not on its shape alone."""
    stored = {tensor.name for tensor in model.graph.initializer}
    found = {value.name for value in model.graph.input if value.name not in stored}
    for node in model.graph.node:
        if node.op_type not in ("Shape", "Size") and found.intersection(_reads(node)):
            found.update(filter(None, node.output))
    return found


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    """What the node reads, and what its subgraphs take from outside."""
    yield from filter(None, node.input)
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield from _reads(inner)
        yield from (value.name for value in graph.output)


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]


def _condition(model: onnx.ModelProto, name: str) -> bool | None:
    """The condition on an image of zeros, by ONNX Runtime; None where that cannot tell."""
    needed, nodes = {name}, list[onnx.NodeProto]()
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.insert(0, node)
            needed.update(_reads(node))
    if any(_repeats(node) for node in nodes):
        return None
    stored = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    names = {tensor.name for tensor in stored}
    images = [value for value in model.graph.input if value.name in needed and value.name not in names]
    body = helper.make_graph(nodes, "condition", images, [onnx.ValueInfoProto(name=name)], stored)
    part = helper.make_model(body, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    try:
        session = plain_session(part.SerializeToString())
        shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in images}
        (value,) = session.run([name], {x: np.zeros(shape, np.float32) for x, shape in shapes.items()})
    except Exception:  # noqa: BLE001 - its own, unrelated classes; importing the node tells what is wrong
        return None
    condition = np.asarray(value)
    return bool(condition.reshape(-1)[0]) if condition.dtype == np.bool_ and condition.size == 1 else None


def _repeats(node: onnx.NodeProto) -> bool:
    inside = (inner for graph in _subgraphs(node) for inner in graph.node)
    return node.op_type in REPEATING or any(_repeats(inner) for inner in inside)


def _branch(node: onnx.NodeProto, taken: bool) -> onnx.GraphProto | None:
    name = "then_branch" if taken else "else_branch"
    branch = next((a.g for a in node.attribute if a.name == name), None)
    fits = branch is not None and len(branch.output) == len(node.output) and not branch.sparse_initializer
    return branch if fits else None


def _replaced(model: onnx.ModelProto, number: int, branch: onnx.GraphProto) -> onnx.ModelProto:
    """``model`` with the nodes of ``branch`` in the place of node ``number``."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    node, before = model.graph.node[number], list(model.graph.node)
    made = [tensor.name for tensor in branch.initializer]
    made += [name for inner in branch.node for name in inner.output if name]
    names = {name: f"{node.output[0]}/{name}" for name in made}
    nodes: list[onnx.NodeProto] = []
    for inner in branch.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        _rename(copy, names)
        nodes.append(copy)
    for value, y in zip(branch.output, node.output, strict=True):
        source = names.get(value.name, value.name)
        nodes.append(helper.make_node("Identity", [source], [y], name=f"{node.name or node.output[0]}/{value.name}"))
    del result.graph.node[:]
    result.graph.node.extend([*before[:number], *nodes, *before[number + 1 :]])
    for tensor in branch.initializer:
        stored = result.graph.initializer.add()
        stored.CopyFrom(tensor)
        stored.name = names[tensor.name]
    return result


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Give what ``node`` reads and makes its new names, also in its subgraphs, whose own names are others."""
    for field in (node.input, node.output):
        renamed = [names.get(name, name) for name in field]
        del field[:]
        field.extend(renamed)
    for graph in _subgraphs(node):
        for inner in graph.node:
            _rename(inner, names)
        for value in graph.output:
            value.name = names.get(value.name, value.name)
