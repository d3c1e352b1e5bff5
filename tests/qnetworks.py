"""Hypothesis strategies for quantised networks, drawn shape by shape so that failures shrink to small ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.accel.array import Array, load_array
from proprune_cli.ir.nodes import (
    Add as Add,
)
from proprune_cli.ir.nodes import (
    Concat as Concat,
)
from proprune_cli.ir.nodes import (
    Host as Host,
)
from proprune_cli.ir.nodes import (
    MaxPool as MaxPool,
)
from proprune_cli.ir.nodes import (
    Mul as Mul,
)
from proprune_cli.ir.nodes import (
    Relu as Relu,
)
from proprune_cli.ir.nodes import (
    Select as Select,
)
from proprune_cli.ir.nodes import (
    Upsample as Upsample,
)
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.quantized import QConv, QConvTranspose, QGraph, QLayer, QPad, QTable, QTensor
from proprune_cli.ir.window import Window

ARRAYS = ("z7020-256", "z7020-384", "zu-1024")
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 24, 33, 40, 70])
KINDS = (
    "conv", "conv", "depthwise", "grouped", "pool", "relu", "residual", "double", "difference", "table", "excite",
    "product", "concat", "select", "pad", "upsample", "transpose", "cover", "host", "host",
)  # fmt: skip
Quad = tuple[int, int, int, int]


@st.composite
def arrays(draw: DrawFn) -> Array:
    """A build of the engine, or one with tighter buffers: its programs run there too and split far more often."""
    array = load_array(draw(st.sampled_from(ARRAYS)))
    if draw(st.booleans()):
        return array
    return dataclasses.replace(
        array,
        bank_depth=draw(st.sampled_from([64, 130, 300])),
        acc_depth=draw(st.sampled_from([16, 24, 40])),
        scratch_words=draw(st.sampled_from([1, 64, 1024])),
    )


@dataclass
class Builder:
    """Grows a network one layer at a time; weights come from ``rng``, everything structural from ``draw``."""

    draw: DrawFn
    rng: np.random.Generator
    tensors: dict[str, QTensor] = field(default_factory=dict)
    layers: list[QLayer] = field(default_factory=list)

    def tensor(self, channels: int, height: int, width: int, exponent: int | None = None) -> str:
        name = f"t{len(self.tensors)}"
        chosen = self.draw(st.integers(-7, -1)) if exponent is None else exponent
        self.tensors[name] = QTensor(name, channels, height, width, chosen)
        return name

    def window(self, x: QTensor, most: int) -> tuple[tuple[int, int], tuple[int, int], Quad, tuple[int, int], int, int]:
        """Kernel, stride, pads, dilation and the output size; kernels are cut down until they fit."""
        d = self.draw
        dilation = (d(st.integers(1, 2)), d(st.integers(1, 2)))
        stride = (d(st.integers(1, 3)), d(st.integers(1, 3)))
        kernel = [d(st.integers(1, most)), d(st.integers(1, most))]
        pads = [0, 0, 0, 0]
        for axis, extent in enumerate((x.height, x.width)):
            limit = (kernel[axis] - 1) * dilation[axis]
            pads[axis], pads[axis + 2] = d(st.integers(0, min(limit, 3))), d(st.integers(0, min(limit, 3)))
            while (kernel[axis] - 1) * dilation[axis] + 1 > extent + pads[axis] + pads[axis + 2]:
                kernel[axis] -= 1
        out = [
            (extent + pads[a] + pads[a + 2] - (kernel[a] - 1) * dilation[a] - 1) // stride[a] + 1
            for a, extent in enumerate((x.height, x.width))
        ]
        return (kernel[0], kernel[1]), stride, (pads[0], pads[1], pads[2], pads[3]), dilation, out[0], out[1]

    def conv(self, x: str, groups: int, out_channels: int) -> str:
        source = self.tensors[x]
        kernel, stride, pads, dilation, height, width = self.window(source, 7)
        weight = self.rng.integers(-127, 128, (out_channels, source.channels // groups, *kernel)).astype(np.int8)
        thinning = self.draw(st.sampled_from(["dense", "pruned", "constant", "zero"]))
        if thinning == "pruned":
            weight[self.rng.random(weight.shape[:2]) < 0.8] = 0
        elif thinning == "constant":
            weight[:] = 64
        elif thinning == "zero":
            weight[:] = 0
        return self.add_conv(x, weight, (height, width), stride, pads, dilation, groups)

    def add_conv(
        self,
        x: str,
        weight: np.ndarray,
        size: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        pads: Quad = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> str:
        out_channels = len(weight)
        y = self.tensor(out_channels, *size)
        spread = max(1, int(np.sqrt(weight[0].size)) * 12)
        multiplier = self.rng.integers(1, max(2, 2**16 // spread), out_channels).clip(1, 2**15 - 1).astype(np.int32)
        bias = self.rng.integers(-4000, 4000, out_channels).astype(np.int32)
        relu = self.draw(st.booleans())
        window = Window.over(weight.shape[2:], stride, pads, dilation)
        self.layers.append(QConv(f"conv{len(self.layers)}", x, y, weight, bias, multiplier, window, groups, relu=relu))
        return y

    def add(self, a: str, b: str, *, subtract: bool = False) -> str:
        t = self.tensors[a]
        y = self.tensor(t.channels, t.height, t.width)
        self.layers.append(Add(f"add{len(self.layers)}", a, b, y, subtract, relu=self.draw(st.booleans())))
        return y

    def mul(self, a: str, b: str) -> str:
        t = self.tensors[a]
        exponent = t.exponent + self.tensors[b].exponent + self.draw(st.integers(-2, 8))
        y = self.tensor(t.channels, t.height, t.width, exponent)
        self.layers.append(Mul(f"mul{len(self.layers)}", a, b, y, relu=self.draw(st.booleans())))
        return y

    def squeeze(self, x: str) -> str:
        """One pixel for each channel, as squeeze-excite makes it."""
        t = self.tensors[x]
        weight = np.full((t.channels, 1, t.height, t.width), 1, dtype=np.int8)
        return self.add_conv(x, weight, (1, 1), groups=t.channels)

    def table(self, x: str) -> str:
        t = self.tensors[x]
        y = self.tensor(t.channels, t.height, t.width)
        codes = self.rng.integers(-128, 128, 256).astype(np.int8)
        self.layers.append(QTable(f"table{len(self.layers)}", x, y, codes, "Sigmoid"))
        return y

    def concat(self, xs: list[str]) -> str:
        t = self.tensors[xs[0]]
        y = self.tensor(sum(self.tensors[x].channels for x in xs), t.height, t.width, t.exponent)
        self.layers.append(Concat(f"concat{len(self.layers)}", tuple(xs), y))
        return y

    def select(self, x: str) -> str:
        t = self.tensors[x]
        kind = self.draw(st.sampled_from(["slice", "shuffle", "any"]))
        if kind == "slice":
            first = self.draw(st.integers(0, t.channels - 1))
            channels = np.arange(first, self.draw(st.integers(first + 1, t.channels)))
        elif kind == "shuffle":
            channels = self.rng.permutation(t.channels)
        else:
            channels = self.rng.integers(0, t.channels, self.draw(st.integers(1, 2 * t.channels)))
        y = self.tensor(len(channels), t.height, t.width, t.exponent)
        self.layers.append(Select(f"select{len(self.layers)}", x, y, channels.astype(np.int64)))
        return y

    def pad(self, x: str) -> str:
        t = self.tensors[x]
        low = (-((t.height - 1) // 2), -((t.width - 1) // 2))
        top, left, bottom, right = (self.draw(st.integers(max(low[i % 2], -3), 3)) for i in range(4))
        if self.draw(st.booleans()):
            top, left, bottom, right = (min(p, 0) for p in (top, left, bottom, right))
        mode = self.draw(st.sampled_from(["constant", "constant", "edge", "reflect"]))
        if mode != "constant":
            most = (t.height - 1, t.width - 1) if mode == "reflect" else (2, 2)
            top, left, bottom, right = (min(max(p, 0), most[i % 2]) for i, p in enumerate((top, left, bottom, right)))
        y = self.tensor(t.channels, t.height + top + bottom, t.width + left + right, t.exponent)
        value = self.draw(st.integers(-128, 127))
        self.layers.append(QPad(f"pad{len(self.layers)}", x, y, (top, left, bottom, right), value, mode))
        return y

    def upsample(self, x: str) -> str:
        t = self.tensors[x]
        scale = (self.draw(st.integers(1, 3)), self.draw(st.integers(1, 3)))
        y = self.tensor(t.channels, t.height * scale[0], t.width * scale[1], t.exponent)
        self.layers.append(Upsample(f"upsample{len(self.layers)}", x, y, scale))
        return y

    def conv_transpose(self, x: str) -> str:
        t, d = self.tensors[x], self.draw
        stride, dilation = (d(st.integers(1, 3)), d(st.integers(1, 3))), (d(st.integers(1, 2)), d(st.integers(1, 3)))
        kernel = (d(st.integers(1, 4)), d(st.integers(1, 4)))
        groups = d(st.sampled_from([g for g in range(1, t.channels + 1) if t.channels % g == 0]))
        full = [(n - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 for i, n in enumerate((t.height, t.width))]
        begin = [d(st.integers(0, min(2, full[i] - 1))) for i in range(2)]
        end = [d(st.integers(0, min(2, full[i] - begin[i] - 1))) for i in range(2)]
        extra = [d(st.integers(0, max(stride[i], dilation[i]) - 1)) for i in range(2)]
        size = [full[i] - begin[i] - end[i] + extra[i] for i in range(2)]
        per_group = d(st.integers(1, 9))
        weight = self.rng.integers(-127, 128, (t.channels, per_group, *kernel)).astype(np.int8)
        out_channels = per_group * groups
        y = self.tensor(out_channels, size[0], size[1])
        multiplier = self.rng.integers(1, 400, out_channels).astype(np.int32)
        bias = self.rng.integers(-4000, 4000, out_channels).astype(np.int32)
        pads = (begin[0], begin[1], end[0], end[1])
        relu = d(st.booleans())
        name = f"up{len(self.layers)}"
        window = Window(kernel, stride, pads, dilation)
        self.layers.append(QConvTranspose(name, x, y, weight, bias, multiplier, window, groups, relu=relu))
        return y

    def host(self, x: str) -> str:
        """Normalisation over channels, resizing between pixels, or the larger of two tensors: none is the engine's."""
        t = self.tensors[x]
        kind = self.draw(st.sampled_from(["LRN", "Resize", "Max"]))
        if kind == "LRN":
            node, size, xs = helper.make_node("LRN", ["x0"], ["y"], size=3, alpha=0.4), (t.height, t.width), [x]
        elif kind == "Resize":
            node = helper.make_node("Resize", ["x0", "", "s"], ["y"], mode="linear")
            size, xs = (2 * t.height, -(-3 * t.width // 2)), [x]
        else:
            xs = [x, self.select(x) if self.draw(st.booleans()) else self.table(x)]
            if self.tensors[xs[1]].channels != t.channels:
                xs = [xs[1], self.table(xs[1])]
            t = self.tensors[xs[0]]
            node, size = helper.make_node("Max", ["x0", "x1"], ["y"]), (t.height, t.width)
        scales = np.asarray([1, 1, size[0] / t.height, size[1] / t.width], np.float32)
        constants = [numpy_helper.from_array(scales, "s")] if kind == "Resize" else []
        shape = ["N", t.channels, t.height, t.width]
        inputs = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i in range(len(xs))]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        body = helper.make_graph([node], "host", inputs, outputs, constants)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        y = self.tensor(t.channels, *size)
        name = f"host{len(self.layers)}"
        self.layers.append(Host(name, tuple(xs), y, model.SerializeToString(), (kind,), (t.channels, *size)))
        return y

    def cover(self, x: str) -> str:
        """A fully connected layer: a window that covers the image, or all of it but a few rows and columns."""
        t = self.tensors[x]
        kernel = [n - self.draw(st.integers(0, min(1, n - 1))) for n in (t.height, t.width)]
        if t.channels * kernel[0] * kernel[1] > 2000:
            return self.table(x)
        size = (t.height - kernel[0] + 1, t.width - kernel[1] + 1)
        weight = self.rng.integers(-127, 128, (self.draw(CHANNELS), t.channels, *kernel)).astype(np.int8)
        return self.add_conv(x, weight, size)

    def layer(self, x: str) -> str:
        kind = self.draw(st.sampled_from(KINDS))
        source = self.tensors[x]
        same = (source.channels, source.height, source.width)
        if kind == "conv":
            return self.conv(x, 1, self.draw(CHANNELS))
        if kind == "depthwise":
            return self.conv(x, source.channels, source.channels)
        if kind == "grouped":
            groups = self.draw(st.sampled_from([g for g in range(1, source.channels + 1) if source.channels % g == 0]))
            return self.conv(x, groups, groups * self.draw(st.integers(1, 4)))
        if kind == "pool":
            kernel, stride, pads, dilation, height, width = self.window(source, 4)
            y = self.tensor(source.channels, height, width, source.exponent)
            relu = self.draw(st.booleans())
            self.layers.append(
                MaxPool(f"pool{len(self.layers)}", x, y, Window(kernel, stride, pads, dilation), relu=relu)
            )
            return y
        if kind == "relu":
            y = self.tensor(*same, source.exponent)
            self.layers.append(Relu(f"relu{len(self.layers)}", x, y))
            return y
        if kind == "double":
            return self.add(x, x)
        if kind == "difference":
            weight = self.rng.integers(-127, 128, (source.channels, source.channels, 1, 1)).astype(np.int8)
            branch = self.add_conv(x, weight, same[1:])
            return self.add(*((x, branch) if self.draw(st.booleans()) else (branch, x)), subtract=True)
        if kind == "table":
            return self.table(x)
        if kind == "excite":
            scale = self.squeeze(x)
            if self.draw(st.booleans()):
                scale = self.table(scale)
            return self.mul(x, scale) if self.draw(st.booleans()) else self.add(x, scale, subtract=True)
        if kind == "product":
            return self.mul(x, self.table(x))
        if kind == "concat":
            others = [x] if self.draw(st.booleans()) else [self.select(x)]
            return self.concat([x, *others] if self.draw(st.booleans()) else [*others, x])
        simple = {"select": self.select, "pad": self.pad, "upsample": self.upsample, "transpose": self.conv_transpose}
        simple |= {"host": self.host, "cover": self.cover}
        if kind in simple:
            return simple[kind](x)
        weight = self.rng.integers(-127, 128, (source.channels, source.channels, 3, 3)).astype(np.int8)
        branch = self.add_conv(x, weight, same[1:], pads=(1, 1, 1, 1))
        return self.add(*((x, branch) if self.draw(st.booleans()) else (branch, x)))


@st.composite
def quantised_networks(draw: DrawFn) -> tuple[QGraph, np.ndarray]:
    """A network of 1 to 5 steps and one image of codes, int8 [C, H, W]."""
    b = Builder(draw, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    x = first = b.tensor(draw(CHANNELS), draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    for _ in range(draw(st.integers(1, 5))):
        if b.tensors[x].channels * b.tensors[x].height * b.tensors[x].width < 20_000:
            x = b.layer(x)
    if all(isinstance(layer, Host | Select | Concat) for layer in b.layers):
        x = b.table(x)
    s = b.tensors[first]
    # Further outputs: any tensor, read by others or not, a view or the input itself, or the same one again.
    further = draw(st.lists(st.sampled_from(sorted(b.tensors)), max_size=3))
    named = draw(st.permutations([("y", x), *((f"z{n}", name) for n, name in enumerate(further))]))
    outputs = tuple(
        Output(name, t.name, (t.channels, t.height, t.width)) for name, t in ((n, b.tensors[of]) for n, of in named)
    )
    graph = QGraph("random", b.tensors, tuple(b.layers), first, outputs)
    return graph, b.rng.integers(-128, 128, (s.channels, s.height, s.width)).astype(np.int8)
