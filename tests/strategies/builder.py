"""Grows an ONNX model node by node, and the draws that all layers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Draw = st.DrawFn


@dataclass
class Builder:
    """Grows an ONNX graph node by node; ``shape`` is the current tensor's, without the batch, ``made`` all of them."""

    rng: np.random.Generator
    shape: tuple[int, ...]
    current: str = "x"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    made: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def constant(self, value: NDArray[Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, *extra: str, shape: tuple[int, ...] | None = None, **attributes: Any) -> str:
        y = f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, [self.current, *extra], [y], name=f"{op}_{len(self.nodes)}", **attributes)
        )
        self.current, self.shape = y, shape or self.shape
        self.made[y] = self.shape
        return y

    def normal(self, *shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def model(self, image: tuple[int, ...], opset: int, further: Sequence[str] = ()) -> onnx.ModelProto:
        """The model with the current tensor as its first output, and ``further`` ones."""
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *image])
        shapes = {self.current: self.shape, **{name: self.made[name] for name in further}}
        ys = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *s]) for name, s in shapes.items()]
        graph = helper.make_graph(self.nodes, "random", [x], ys, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def draw_window(draw: Draw, b: Builder, largest: int = 7, dilations: int = 2, padded: bool = True) -> dict[str, Any]:
    """A window that fits, with pads below the kernel's extent."""
    kernel, stride, pads, dilation = [], [], [[], []], []
    for size in b.shape[1:]:
        k = draw(st.integers(1, largest))
        d = draw(st.integers(1, dilations)) if k > 1 else 1
        before, after = (draw(st.integers(0, min(k - 1, 3))) if padded else 0 for _ in range(2))
        while (k - 1) * d + 1 > size + before + after:
            k, d = max(k - 1, 1), 1
            before, after = min(before, k - 1), min(after, k - 1)
        kernel.append(k)
        dilation.append(d)
        pads[0].append(before)
        pads[1].append(after)
        stride.append(draw(st.integers(1, 3)))
    return {"kernel_shape": kernel, "strides": stride, "pads": pads[0] + pads[1], "dilations": dilation}


def sizes_of(b: Builder, w: dict[str, Any], ceil: bool = False) -> tuple[int, int]:
    spans = [
        b.shape[i + 1] + w["pads"][i] + w["pads"][i + 2] - w["dilations"][i] * (w["kernel_shape"][i] - 1) - 1
        for i in (0, 1)
    ]
    h, w_ = (-(-s // t) + 1 if ceil else s // t + 1 for s, t in zip(spans, w["strides"], strict=True))
    return h, w_


def filters_of(draw: Draw, b: Builder, filters: int, window: dict[str, Any], groups: int = 1) -> tuple[str, ...]:
    """Weights with channels of very different ranges, sometimes a dead one; the bias is sometimes absent."""
    channels = b.shape[0] // groups
    fan = channels * window["kernel_shape"][0] * window["kernel_shape"][1]
    weight = b.normal(filters, channels, *window["kernel_shape"], scale=fan**-0.5)
    weight *= np.exp2(b.rng.integers(-3, 3, (filters, 1, 1, 1))).astype(np.float32)
    if draw(st.booleans()):
        weight[b.rng.integers(filters)] = 0
    bias = (b.constant(b.normal(filters, scale=0.3)),) if draw(st.booleans()) else ()
    return (b.constant(weight), *bias)
