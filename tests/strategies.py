"""Random small networks for Hypothesis: ONNX models with calibration images, from every operator that is supported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def _window(draw: Draw, b: Builder, largest: int = 7, dilations: int = 2, padded: bool = True) -> dict[str, Any]:
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


def _size(b: Builder, w: dict[str, Any], ceil: bool = False) -> tuple[int, int]:
    spans = [
        b.shape[i + 1] + w["pads"][i] + w["pads"][i + 2] - w["dilations"][i] * (w["kernel_shape"][i] - 1) - 1
        for i in (0, 1)
    ]
    h, w_ = (-(-s // t) + 1 if ceil else s // t + 1 for s, t in zip(spans, w["strides"], strict=True))
    return h, w_


def _filters(draw: Draw, b: Builder, filters: int, window: dict[str, Any], groups: int = 1) -> tuple[str, ...]:
    """Weights with channels of very different ranges, sometimes a dead one; the bias is sometimes absent."""
    channels = b.shape[0] // groups
    fan = channels * window["kernel_shape"][0] * window["kernel_shape"][1]
    weight = b.normal(filters, channels, *window["kernel_shape"], scale=fan**-0.5)
    weight *= np.exp2(b.rng.integers(-3, 3, (filters, 1, 1, 1))).astype(np.float32)
    if draw(st.booleans()):
        weight[b.rng.integers(filters)] = 0
    bias = (b.constant(b.normal(filters, scale=0.3)),) if draw(st.booleans()) else ()
    return (b.constant(weight), *bias)


def _conv(draw: Draw, b: Builder, grouped: bool) -> None:
    window = _window(draw, b)
    divisors = [g for g in range(1, b.shape[0] + 1) if b.shape[0] % g == 0] if grouped else [1]
    groups = draw(st.sampled_from(divisors))
    filters = groups * draw(st.integers(1, max(1, 12 // groups)))
    size = _size(b, window)
    b.add("Conv", *_filters(draw, b, filters, window, groups), shape=(filters, *size), group=groups, **window)


def _residual(draw: Draw, b: Builder) -> None:
    """``x + conv(x)``, the branch of another scale than the shortcut."""
    shortcut, channels = b.current, b.shape[0]
    k = draw(st.sampled_from([1, 3, 5]))
    window = {"kernel_shape": [k, k], "strides": [1, 1], "pads": [k // 2] * 4, "dilations": [1, 1]}
    b.add("Conv", *_filters(draw, b, channels, window), **window)
    if draw(st.booleans()):
        _batch_norm(draw, b)
    if draw(st.booleans()):
        b.add("Relu")
    b.add("Add", shortcut)


def _batch_norm(draw: Draw, b: Builder) -> None:
    n = b.shape[0]
    scale = b.normal(n) * np.float32(2.0 ** draw(st.integers(-4, 3)))
    variance = b.rng.uniform(0.2, 2.0, n).astype(np.float32)
    parts = [scale, b.normal(n, scale=0.2), b.normal(n, scale=0.2), variance]
    b.add("BatchNormalization", *(b.constant(part) for part in parts))


def _max_pool(draw: Draw, b: Builder) -> None:
    window = _window(draw, b, largest=4, dilations=1)
    ceil = draw(st.booleans())
    size = _size(b, window, ceil)
    for i in (0, 1):
        # A ceil-mode window that begins in the padding is refused by design.
        if (size[i] - 1) * window["strides"][i] >= b.shape[i + 1] + window["pads"][i]:
            ceil = False
    b.add("MaxPool", shape=(b.shape[0], *_size(b, window, ceil)), ceil_mode=int(ceil), **window)


def _average_pool(draw: Draw, b: Builder) -> None:
    window = _window(draw, b, largest=4, dilations=1)
    del window["dilations"]
    size = _size(b, {**window, "dilations": [1, 1]})
    # Without the padding, a window may not read both borders, nor neither pixel.
    kernel, pads = window["kernel_shape"], window["pads"]
    inner = all(pads[i] + pads[i + 2] < kernel[i] <= b.shape[i + 1] for i in (0, 1))
    b.add(
        "AveragePool", shape=(b.shape[0], *size), count_include_pad=int(not (inner and draw(st.booleans()))), **window
    )


def _add_constant(draw: Draw, b: Builder) -> None:
    b.add("Add", b.constant(b.normal(1, b.shape[0], 1, 1)))


def _activation(draw: Draw, b: Builder, opset: int) -> None:
    kind = draw(st.sampled_from(["table", "attribute", "clip", "slope", "slopes", "silu", "hard swish", "relu6 swish"]))
    x = b.current
    if kind == "table":
        b.add(draw(st.sampled_from(["Sigmoid", "Tanh", "Softplus", "Softsign", "Selu", "HardSigmoid", "Erf", "Abs"])))
    elif kind == "attribute":
        op = draw(st.sampled_from(["LeakyRelu", "Elu", "Celu", "ThresholdedRelu"]))
        b.add(op, alpha=draw(st.sampled_from([0.1, 0.25, 1.0, 1.5])))
    elif kind == "clip":
        low, high = draw(st.sampled_from([(0.0, 6.0), (-1.0, 1.0), (0.0, 1.0), (-0.3, 2.7)]))
        b.add("Clip", *(b.constant(np.asarray(v, np.float32)) for v in (low, high)))
    elif kind in ("slope", "slopes"):
        b.add("PRelu", b.constant(b.normal(b.shape[0] if kind == "slopes" else 1, 1, 1, scale=0.3)))
    elif kind == "silu":
        b.add("Sigmoid")
        b.add("Mul", x)
    elif kind == "hard swish" and opset >= 14:
        b.add("HardSwish")
    elif kind == "hard swish":
        b.add("HardSigmoid", alpha=1 / 6, beta=0.5)
        b.add("Mul", x)
    else:
        b.add("Add", b.constant(np.asarray(3, np.float32)))
        b.add("Clip", *(b.constant(np.asarray(v, np.float32)) for v in (0, 6)))
        b.add("Mul", x)
        b.add("Div", b.constant(np.asarray(6, np.float32)))


def _dense(draw: Draw, b: Builder) -> None:
    """Concatenation of the tensor with convolutions of it, of other scales."""
    x, (channels, *size) = b.current, b.shape
    parts, total = [x], channels
    for _ in range(draw(st.integers(1, 2))):
        b.current, b.shape = x, (channels, *size)
        filters = draw(st.integers(1, 6))
        window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
        b.add("Conv", *_filters(draw, b, filters, window), shape=(filters, *size), **window)
        if draw(st.booleans()):
            b.add("Relu")
        parts.append(b.current)
        total += filters
    first, *rest = draw(st.permutations(parts))
    b.current = first
    b.add("Concat", *rest, shape=(total, *size), axis=draw(st.sampled_from([1, -3])))


def _shuffle(draw: Draw, b: Builder) -> None:
    """A ShuffleNet block: half of the channels pass a convolution, then both halves are interleaved."""
    channels, *size = b.shape
    if channels % 2:
        _activation(draw, b, 13)
        return
    half, x = channels // 2, b.current
    name = f"s{len(b.nodes)}"
    sizes = b.constant(np.asarray([half, half], np.int64))
    b.nodes.append(helper.make_node("Split", [x, sizes], [name + "a", name + "b"], name=name, axis=1))
    b.current, b.shape = name + "b", (half, *size)
    window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    b.add("Conv", *_filters(draw, b, half, window), **window)
    b.add("Concat", name + "a", shape=(channels, *size), axis=1)
    apart = b.constant(np.asarray([0, 2, half, *size], np.int64))
    b.add("Reshape", apart, shape=(2, half, *size))
    b.add("Transpose", shape=(half, 2, *size), perm=[0, 2, 1, 3, 4])
    b.add("Reshape", b.constant(np.asarray([0, -1, *size], np.int64)), shape=(channels, *size))


def _squeeze_excite(draw: Draw, b: Builder) -> None:
    x, shape = b.current, b.shape
    b.add("GlobalAveragePool", shape=(shape[0], 1, 1))
    window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    b.add("Conv", *_filters(draw, b, shape[0], window), **window)
    b.add(draw(st.sampled_from(["Sigmoid", "HardSigmoid", "Relu"])))
    op = draw(st.sampled_from(["Mul", "Mul", "Add", "Sub"]))
    if draw(st.booleans()):
        b.shape = shape
        b.add(op, x)
    else:
        gate, b.current, b.shape = b.current, x, shape
        b.add(op, gate)


def _upsample(draw: Draw, b: Builder) -> None:
    scale = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if scale == (1, 1) or max(b.shape[1:]) > 24:
        _scalar(draw, b)
        return
    shape = (b.shape[0], b.shape[1] * scale[0], b.shape[2] * scale[1])
    how = draw(st.sampled_from([("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")]))
    scales = b.constant(np.asarray([1, 1, *scale], np.float32))
    modes = {"coordinate_transformation_mode": how[0], "nearest_mode": how[1]}
    b.add("Resize", b.constant(np.zeros(0, np.float32)), scales, shape=shape, mode="nearest", **modes)


def _transposed(draw: Draw, b: Builder) -> None:
    groups = draw(st.sampled_from([g for g in range(1, b.shape[0] + 1) if b.shape[0] % g == 0]))
    per_group = draw(st.integers(1, max(1, 8 // groups)))
    kernel, stride, dilation, pads, extra, size = [], [], [], [[], []], [], []
    for n in b.shape[1:]:
        k, s, d = (draw(st.integers(1, high)) for high in (4, 3, 2))
        e = draw(st.integers(0, s - 1))
        full = (n - 1) * s + d * (k - 1) + 1 + e
        before = draw(st.integers(0, min(2, full - 1)))
        after = draw(st.integers(0, min(2, full - 1 - before)))
        for where, value in ((kernel, k), (stride, s), (dilation, d), (extra, e), (size, full - before - after)):
            where.append(value)
        pads[0].append(before)
        pads[1].append(after)
    if max(size) > 48:
        _scalar(draw, b)
        return
    weight = b.normal(b.shape[0], per_group, *kernel, scale=(b.shape[0] // groups) ** -0.5)
    weight *= np.exp2(b.rng.integers(-3, 3, (1, per_group, 1, 1))).astype(np.float32)
    filters = per_group * groups
    bias = (b.constant(b.normal(filters, scale=0.3)),) if draw(st.booleans()) else ()
    window = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads[0] + pads[1]}
    shape = (filters, *size)
    b.add("ConvTranspose", b.constant(weight), *bias, shape=shape, group=groups, output_padding=extra, **window)


def _cut(draw: Draw, b: Builder) -> None:
    """A slice of channels or of space, or constant padding of another value than 0."""
    kind = draw(st.sampled_from(["slice", "strided", "pad", "gather"]))
    axis = draw(st.sampled_from([1, 2, 3]))
    size = b.shape[axis - 1]
    if kind == "gather":
        chosen = b.rng.integers(0, b.shape[0], draw(st.integers(1, 8)))
        b.add("Gather", b.constant(chosen), shape=(len(chosen), *b.shape[1:]), axis=1)
    elif kind == "pad":
        pads = [draw(st.integers(-1 if n > 2 else 0, 2)) for n in (*b.shape[1:], *b.shape[1:])]
        mode = draw(st.sampled_from(["constant", "constant", "edge", "reflect"]))
        if mode != "constant":
            most = [n - 1 if mode == "reflect" else 2 for n in b.shape[1:]] * 2
            pads = [min(max(p, 0), limit) for p, limit in zip(pads, most, strict=True)]
        value = np.asarray(draw(st.sampled_from([0.0, -1.0, 0.7])), np.float32)
        shape = (b.shape[0], b.shape[1] + pads[0] + pads[2], b.shape[2] + pads[1] + pads[3])
        full = np.asarray([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
        values = (b.constant(value),) if mode == "constant" else ()
        b.add("Pad", b.constant(full), *values, shape=shape, mode=mode)
    else:
        start = draw(st.integers(0, size - 1))
        end = draw(st.integers(start + 1, size))
        step = draw(st.integers(1, 3)) if kind == "strided" else 1
        bounds = (b.constant(np.asarray([n], np.int64)) for n in (start, end, axis, step))
        shape = list(b.shape)
        shape[axis - 1] = len(range(start, end, step))
        b.add("Slice", *bounds, shape=tuple(shape))


def _scalar(draw: Draw, b: Builder) -> None:
    op = draw(st.sampled_from(["Mul", "Div", "Sub", "Add"]))
    value = np.exp(b.normal(*draw(st.sampled_from([(), (1, b.shape[0], 1, 1), (b.shape[0], 1, 1)]))))
    b.add(op, b.constant(value.astype(np.float32)))


def _head(draw: Draw, b: Builder, opset: int) -> None:
    kind = draw(st.sampled_from(["none", "gap", "mean", "flatten", "gemm", "gap+gemm", "matmul"]))
    channels = b.shape[0]
    if kind in ("gap", "gap+gemm"):
        b.add("GlobalAveragePool", shape=(channels, 1, 1))
    elif kind == "mean" and opset < 18:
        b.add("ReduceMean", shape=(channels,), axes=[2, 3], keepdims=0)
    elif kind == "mean":
        b.add("ReduceMean", b.constant(np.asarray([-1, -2], np.int64)), shape=(channels,), keepdims=0)
    if kind in ("flatten", "gemm", "gap+gemm", "matmul"):
        features = int(np.prod(b.shape))
        if draw(st.booleans()):
            b.add("Flatten", shape=(features,))
        else:
            b.add("Reshape", b.constant(np.asarray([0, -1], np.int64)), shape=(features,))
        outputs = draw(st.integers(1, 12))
        if "gemm" in kind:
            b.add(
                "Gemm",
                *(b.constant(b.normal(*s, scale=0.2)) for s in ((outputs, features), (outputs,))),
                shape=(outputs,),
                transB=1,
            )
        elif kind == "matmul":
            b.add("MatMul", b.constant(b.normal(features, outputs, scale=0.2)), shape=(outputs,))
            b.add("Add", b.constant(b.normal(outputs)))
        if draw(st.booleans()):
            b.add("Relu")


def _plain(draw: Draw, b: Builder) -> None:
    b.add("GlobalMaxPool", shape=(b.shape[0], 1, 1))


def _sum(draw: Draw, b: Builder) -> None:
    x = b.current
    b.add("Sigmoid")
    b.add("Sum", x, x)


def _host(draw: Draw, b: Builder) -> None:
    """What the host computes between the engine's layers; a convolution after it keeps it there."""
    kind = draw(st.sampled_from(["LRN", "linear", "cubic", "Softmax", "InstanceNormalization", "larger"]))
    if kind in ("linear", "cubic"):
        # ONNX Runtime has no cubic kernel that makes an image smaller.
        factors = [draw(st.sampled_from([1.0, 1.5, 2.0, 2.5] if kind == "cubic" or n < 4 else [0.5, 1.5, 2.0]))
                   for n in b.shape[1:]]  # fmt: skip
        sizes = [int(n * factor) for n, factor in zip(b.shape[1:], factors, strict=True)]
        scales = b.constant(np.asarray([1, 1, *factors], np.float32))
        b.add("Resize", "", scales, shape=(b.shape[0], *sizes), mode=kind)
    elif kind == "LRN":
        b.add("LRN", size=draw(st.sampled_from([1, 3, 5])), alpha=draw(st.sampled_from([1e-4, 0.5])), beta=0.75)
    elif kind == "Softmax":
        b.add("Softmax", axis=draw(st.sampled_from([1, 2, 3, -1])))
    elif kind == "larger":
        x = b.current
        b.add("Tanh")
        b.add("Max", x)
    else:
        b.add("InstanceNormalization", *(b.constant(b.normal(b.shape[0])) for _ in range(2)))
    window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    filters = draw(st.integers(1, 9))
    b.add("Conv", *_filters(draw, b, filters, window), shape=(filters, *b.shape[1:]), **window)


EXTRA: dict[str, Callable[..., None]] = {
    "activation": _activation,
    "dense": _dense,
    "shuffle": _shuffle,
    "squeeze": _squeeze_excite,
    "upsample": _upsample,
    "transposed": _transposed,
    "cut": _cut,
    "scalar": _scalar,
    "global max": _plain,
    "sum": _sum,
    "host": _host,
}


@st.composite
def random_network(
    draw: Draw, *, grouped: bool = False, largest: int = 17, images: int = 3
) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """An ONNX model of a few layers and ``images`` calibration images, float32 [images, C, H, W].

    Args:
        grouped: also draw grouped and depthwise convolutions of the user's own.
        largest: largest height and width of the input.
    """
    opset = draw(st.sampled_from([13, 17, 18, 20]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = (draw(st.sampled_from([1, 2, 3, 8, 9, 16])), draw(st.integers(1, largest)), draw(st.integers(1, largest)))
    b = Builder(rng, image)
    kinds = ["conv", "residual", "bn", "relu", "max", "average", "constant", "identity", *EXTRA]
    first = draw(st.sampled_from(["conv", "conv", "residual", "bn", "relu", "max", "average", *EXTRA]))
    for kind in [first, *draw(st.lists(st.sampled_from(kinds), max_size=5))]:
        if kind == "conv":
            _conv(draw, b, grouped)
        elif kind == "residual":
            _residual(draw, b)
        elif kind == "bn":
            _batch_norm(draw, b)
        elif kind == "relu":
            b.add("Relu")
        elif kind == "max":
            _max_pool(draw, b)
        elif kind == "average":
            _average_pool(draw, b)
        elif kind == "constant":
            _add_constant(draw, b)
        elif kind == "activation":
            _activation(draw, b, opset)
        elif kind in EXTRA:
            EXTRA[kind](draw, b)
        else:
            b.add(draw(st.sampled_from(["Identity", "Dropout"])))
    if all(node.op_type in ("Identity", "Dropout", "Slice", "Gather", "Pad") for node in b.nodes):
        b.add("Relu")
    _head(draw, b, opset)
    scale = 2.0 ** draw(st.integers(-3, 4))
    further = draw(st.lists(st.sampled_from(sorted(b.made)), max_size=2, unique=True))
    return b.model(image, opset, further), b.normal(images, *image, scale=scale)
