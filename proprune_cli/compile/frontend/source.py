"""Where an ONNX node came from: its name, and the PyTorch module where the exporter left word of it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from math import prod
from typing import cast

import numpy as np
import onnx

from proprune_cli.ir.graph import Conv, ConvTranspose, Gemm, Node
from proprune_cli.ir.nodes import Shape
from proprune_cli.work.layer import SourceOperator
from proprune_cli.work.macs import NetworkMacs

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of torch's exporter: the qualified names of the modules around an operator, then the operator's own."""


MULTIPLYING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose multiply-accumulates count as the network's; others that become convolutions have none."""


def source_of(proto: onnx.NodeProto) -> SourceOperator:
    """The node as a source of layers.

    Its module is the one whose ``weight`` it reads, which also holds where the exporter folded a norm into it; else the
    innermost that its metadata or, of torch's older exporter, its name tell.
    """
    weights = [name.removesuffix(".weight") for name in proto.input if name.endswith(".weight")]
    return SourceOperator(
        proto.op_type,
        proto.name or (proto.output[0] if proto.output else ""),
        weights[0] if weights else _scope(proto) or _path(proto),
    )


def asked(node: Node, proto: onnx.NodeProto, shapes: Mapping[str, Shape]) -> NetworkMacs:
    """Multiply-accumulates that the network asks for by ``proto``, of which ``node`` was made.

    Args:
        shapes: of tensors, without the batch, those of ``node`` included.
    """
    if proto.op_type not in MULTIPLYING or not isinstance(node, Conv | ConvTranspose | Gemm):
        return NetworkMacs()
    applied = 1 if isinstance(node, Gemm) else prod(shapes[node.x if isinstance(node, ConvTranspose) else node.y][1:])
    return NetworkMacs.of_weight(node.weight.size, int(np.count_nonzero(node.weight)), applied)


def _path(proto: onnx.NodeProto) -> str:
    """The module in a name such as ``/layer1/layer1.0/conv1/Conv``, which torch's TorchScript exporter gives: children
    of a container have its name before theirs, others have not.
    """
    empty, *scopes, operator = proto.name.split("/") if proto.name.startswith("/") else ("", "")
    if empty or not operator.startswith(proto.op_type):
        return ""
    path: list[str] = []
    for scope in scopes:
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return ".".join(path)


def _scope(proto: onnx.NodeProto) -> str:
    text = next((entry.value for entry in proto.metadata_props if entry.key == SCOPES), "")
    try:
        scopes: object = ast.literal_eval(text) if text else []
    except (ValueError, SyntaxError):
        return ""
    if not isinstance(scopes, list):
        return ""
    names = [name for name in cast("list[object]", scopes) if isinstance(name, str)]
    return names[-2] if len(names) > 1 else ""
