"""ONNX nodes of operator set 13 for what the calibration model and the QDQ model have in common.

A model with host steps of a later operator set is of that set; the nodes made here mean the same in all up to 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from typing_extensions import assert_never

from proprune_cli.ir.nodes import Add, Concat, Host, MaxPool, Mul, Relu, Select, Shared, Upsample
from proprune_cli.ir.window import Window
from proprune_cli.ops.functions import Function, function_nodes

OPSET = 13
IR_VERSION = 8
"""Old enough for the runtimes that boards and older installations carry."""


def window_attributes(window: Window) -> dict[str, Any]:
    """ONNX attributes of a window."""
    return {
        "kernel_shape": list(window.kernel),
        "strides": window.stride,
        "pads": window.pads,
        "dilations": window.dilation,
    }


class OnnxBody:
    """Collects nodes and constants of a model."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.opset = OPSET

    def add(self, op: str, inputs: Sequence[str], y: str, name: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, list(inputs), [y], name=name or f"{y}/{op}", **attributes))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def shared(self, node: Shared, xs: Sequence[str], y: str) -> None:
        """A kind that carries no numbers, from the tensors ``xs``; without its ReLU."""
        match node:
            case MaxPool():
                self.add("MaxPool", xs, y, node.name, **window_attributes(node.window))
            case Add():
                self.add("Sub" if node.subtract else "Add", xs, y, node.name)
            case Mul():
                self.add("Mul", xs, y, node.name)
            case Relu():
                self.add("Relu", xs, y, node.name)
            case Concat():
                self.add("Concat", xs, y, node.name, axis=node.axis)
            case Select():
                channels = self.constant(f"{node.name}/channels", node.channels)
                self.add("Gather", [*xs, channels], y, node.name, axis=1)
            case Upsample():
                self.upsample(xs[0], y, node.name, node.scale)
            case Host():
                self.host(node.model, xs, y, node.name)
            case _:
                assert_never(node)

    def pad(
        self, x: str, y: str, name: str, pads: tuple[int, int, int, int], value: float, mode: str = "constant"
    ) -> None:
        """``pads`` is (top, left, bottom, right); what crops comes before what grows."""
        crop, grow = [min(p, 0) for p in pads], [max(p, 0) for p in pads]
        if any(crop):
            starts = self.constant(f"{name}/starts", np.asarray([-crop[0], -crop[1]], np.int64))
            # An end of 0 from behind would be empty: the largest number takes everything.
            ends = [n or np.iinfo(np.int64).max for n in crop[2:]]
            stops = self.constant(f"{name}/ends", np.asarray(ends, np.int64))
            axes = self.constant(f"{name}/axes", np.asarray([2, 3], np.int64))
            cropped = f"{y}/cropped" if any(grow) else y
            self.add("Slice", [x, starts, stops, axes], cropped, f"{name}/crop" if any(grow) else name)
            x = cropped
        if any(grow) or not any(crop):
            full = self.constant(f"{name}/pads", np.asarray([0, 0, *grow[:2], 0, 0, *grow[2:]], np.int64))
            fill = [self.constant(f"{name}/value", np.asarray(value, np.float32))] if mode == "constant" else []
            self.add("Pad", [x, full, *fill], y, name, mode=mode)

    def upsample(self, x: str, y: str, name: str, scale: tuple[int, int]) -> None:
        scales = self.constant(f"{name}/scales", np.asarray([1, 1, *scale], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        self.add("Resize", [x, "", scales], y, name, **how)

    def function(self, f: Function, x: str, y: str, name: str) -> None:
        nodes, constants = function_nodes(f, x, y, name)
        self.nodes.extend(nodes)
        self.constants.extend(constants)

    def host(self, model: bytes, xs: Sequence[str], y: str, name: str) -> None:
        """The nodes of a host step's float model (`Host.model`), its tensors named after ``name``."""
        step = onnx.load_model_from_string(model)
        self.opset = max(self.opset, step.opset_import[0].version)
        names = {"": "", step.graph.output[0].name: y}
        names |= {given.name: x for given, x in zip(step.graph.input, xs, strict=True)}
        for tensor in step.graph.initializer:
            names[tensor.name] = f"{name}/{tensor.name}"
            tensor.name = names[tensor.name]
            self.constants.append(tensor)
        for number, node in enumerate(step.graph.node):
            node.name = name if len(step.graph.node) == 1 else f"{name}/{number}"
            names |= {made: f"{name}/{made}" for made in node.output if made not in names}
            read, made = [names[n] for n in node.input], [names[n] for n in node.output]
            del node.input[:], node.output[:]
            node.input.extend(read)
            node.output.extend(made)
            self.nodes.append(node)

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        body = helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name="proprune")
