"""The end of a network that is not the engine's work runs on the host, in float32.

It begins with Softmax, ArgMax and their like where nothing else follows, and with any node that the engine cannot run
where no layer of the engine's is worth coming back for: there its results need no codes, and any shape may cross.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.errors import UnsupportedError
from proprune_cli.ir.nodes import Shape
from proprune_cli.ops.host import AT_END, FOLLOWING, HOST
from proprune_cli.ops.importing import Array

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
"""Operators whose work is multiplications."""

NO_WORK = frozenset(
    {"Cast", "Dropout", "Flatten", "Gather", "Identity", "Reshape", "Shape", "Size", "Slice", "Split", "Squeeze"}
    | {"Transpose", "Unsqueeze"}
)
"""Operators that compute nothing."""


def host_nodes(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], seeds: Collection[int] = ()) -> frozenset[int]:
    """Numbers of the nodes of the host's end: from the first of ``HOST`` on behind which nothing else comes, and from
    each of ``seeds`` on, whatever comes behind it.

    Args:
        nodes: in topological order.
        seeds: nodes that the engine cannot run.
    """
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.input):
            readers.setdefault(name, []).append(index)
    behind: set[int] = set()
    late: set[str] = set()
    for index, node in enumerate(nodes):
        if index in seeds or late.intersection(node.input):
            behind.add(index)
            late.update(filter(None, node.output))
    trailing: set[int] = set()
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        known = node.op_type in HOST | FOLLOWING and node.domain in ("", "ai.onnx")
        free = all(reader in trailing for name in node.output for reader in readers.get(name, ()))
        if index in behind or (known and free):
            trailing.add(index)
    found: set[int] = set()
    made: set[str] = set()
    for index, node in enumerate(nodes):
        if index in behind or (index in trailing and (_begins(node) or made.intersection(node.input))):
            found.add(index)
            made.update(filter(None, node.output))
    needed = set(outputs)
    kept: set[int] = set()
    for index in sorted(found, reverse=True):
        if needed.intersection(nodes[index].output):
            kept.add(index)
            needed.update(nodes[index].input)
    return frozenset(kept)


def can_be_end(nodes: Sequence[onnx.NodeProto], end: Collection[int], depends: frozenset[str], image: str) -> bool:
    """Whether the host may run ``end``, and the engine computes something of what it reads.

    Args:
        nodes: in topological order.
        depends: names of the tensors whose values depend on those of the network's input, ``image``.
    """
    inside = [nodes[i] for i in end]
    if any(node.op_type not in AT_END or node.domain not in ("", "ai.onnx") for node in inside):
        return False
    needed = {name for node in inside for name in node.input}
    if image in needed:
        return False
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        if index not in end and needed.intersection(node.output):
            if node.op_type not in NO_WORK and depends.intersection(node.output):
                return True
            needed.update(node.input)
    return False


def _begins(node: onnx.NodeProto) -> bool:
    """Whether the host's part may begin here; the transposition of a channel shuffle is the engine's."""
    perm = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), ())
    return node.op_type in HOST and not (node.op_type == "Transpose" and perm == (0, 2, 1, 3, 4))


def boundary(nodes: Sequence[onnx.NodeProto], shapes: Mapping[str, Shape], image: str) -> tuple[str, ...]:
    """The engine's tensors that the host's nodes read, in the order in which they do.

    Args:
        shapes: of all of the engine's tensors. image: the network's input.

    Raises:
        UnsupportedError: they read none, or the network's input.
    """
    readers: dict[str, onnx.NodeProto] = {}
    for node in nodes:
        for name in node.input:
            if name in shapes:
                readers.setdefault(name, node)
    if image in readers or not readers:
        first = readers.get(image, nodes[0])
        raise UnsupportedError(
            f"{first.op_type} runs on the host, and nothing before it is left for the engine",
            where=f"node {first.name or first.output[0]!r} ({first.op_type})",
            remedy="give a network with layers that compute something before it",
        )
    return tuple(readers)


def host_model(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], xs: Mapping[str, Shape], constants: Mapping[str, Array]
) -> onnx.ModelProto:
    """The host's nodes as a model: float32 [N, *shape] for each of ``xs`` in, and those of the original model's outputs
    that they make out.
    """
    names = sorted({name for node in nodes for name in node.input if name in constants})
    tensors = [numpy_helper.from_array(np.asarray(constants[name]), name) for name in names]
    sources = [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", *shape]) for x, shape in xs.items()]
    made = {name for node in nodes for name in node.output}
    results = list({value.name: value for value in model.graph.output if value.name in made}.values())
    body = helper.make_graph(list(nodes), model.graph.name or "host", sources, results, tensors)
    return helper.make_model(
        body, opset_imports=list(model.opset_import), ir_version=model.ir_version, producer_name="proprune"
    )
