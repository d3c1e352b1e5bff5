"""What is known while an ONNX graph becomes a torch.fx graph, and what the rules of its operators share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper
from torch import fx, nn

from proprune_cli.errors import InputError, UnsupportedError


@dataclass
class ImportState:
    """What is known while the nodes are walked."""

    where: str
    constants: dict[str, npt.NDArray[Any]]
    """Initializers and folded constants by tensor name."""
    shapes: dict[str, tuple[int | None, ...]]
    """Inferred shapes; None: an unknown dimension."""
    graph: fx.Graph = field(default_factory=fx.Graph)
    values: dict[str, fx.Node] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    buffers: dict[str, torch.Tensor] = field(default_factory=dict)
    shape_tensors: set[str] = field(default_factory=set)
    """Tensors that hold a shape computed at run time; only a Reshape may read one."""

    def value(self, name: str) -> fx.Node:
        """fx node of an ONNX tensor.

        Raises:
            InputError: no node made it.
        """
        if name not in self.values:
            raise InputError(
                f"the tensor {name!r} is used before anything makes it",
                where=self.where,
                remedy="export the model again; this file is not a valid ONNX graph",
            )
        return self.values[name]

    def call_module(self, onnx_node: onnx.NodeProto, module: nn.Module, source: str) -> fx.Node:
        """Add ``module`` under a name made from the node's and call it on ``source``."""
        name = self._free(onnx_node)
        self.modules[name] = module
        return self.graph.call_module(name, (self.value(source),))

    def buffer(self, onnx_node: onnx.NodeProto, array: npt.NDArray[Any]) -> fx.Node:
        """A constant operand of ``onnx_node`` as a buffer, float32, under a name made from the node's."""
        name = self._free(onnx_node)
        self.buffers[name] = torch.from_numpy(np.array(array, dtype=np.float32))
        return self.graph.get_attr(name)

    def _free(self, onnx_node: onnx.NodeProto) -> str:
        base = onnx_node.name or f"{onnx_node.op_type}_{onnx_node.output[0]}"
        name = "".join(c if c.isalnum() else "_" for c in base).strip("_") or "layer"
        name = name if not name[0].isdigit() else f"n{name}"
        while name in self.modules or name in self.buffers:
            name += "_"
        return name


def refuse(node: onnx.NodeProto, reason: str, where: str) -> UnsupportedError:
    """The error for a node that cannot be imported."""
    return UnsupportedError(
        f"{node.op_type} cannot be imported for pruning: {reason}",
        where=f"{where}, node {node.name or node.output[0]!r}",
        remedy="give the PyTorch model instead (--model package.module:factory)",
    )


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def as_parameter(array: npt.NDArray[Any]) -> nn.Parameter:
    """A float32 parameter with the values of ``array``."""
    return nn.Parameter(torch.from_numpy(np.array(array, dtype=np.float32)))
