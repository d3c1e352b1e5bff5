"""Where an ONNX node came from: its name, and the PyTorch module where the exporter left word of it."""

from __future__ import annotations

import ast
from typing import cast

import onnx

from proprune_cli.work.layer import SourceOperator

SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of torch's exporter: the qualified names of the modules around an operator, then the operator's own."""


def source_of(proto: onnx.NodeProto) -> SourceOperator:
    """The node as a source of layers.

    Its module is the one whose ``weight`` it reads, which also holds where the exporter folded a norm into it; else the
    innermost that its metadata name.
    """
    weights = [name.removesuffix(".weight") for name in proto.input if name.endswith(".weight")]
    return SourceOperator(
        proto.op_type, proto.name or (proto.output[0] if proto.output else ""), weights[0] if weights else _scope(proto)
    )


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
