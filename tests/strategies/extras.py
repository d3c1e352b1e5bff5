"""Layers of some networks: shuffles, gates, upsampling, cuts, steps of the host, ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from onnx import helper

from tests.strategies.builder import Builder, Draw, filters_of
from tests.strategies.layers import activation, dense


def shuffle(draw: Draw, b: Builder) -> None:
    """A ShuffleNet block: half of the channels pass a convolution, then both halves are interleaved."""
    channels, *size = b.shape
    if channels % 2:
        activation(draw, b, 13)
        return
    half, x = channels // 2, b.current
    name = f"s{len(b.nodes)}"
    sizes = b.constant(np.asarray([half, half], np.int64))
    b.nodes.append(helper.make_node("Split", [x, sizes], [name + "a", name + "b"], name=name, axis=1))
    b.current, b.shape = name + "b", (half, *size)
    window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    b.add("Conv", *filters_of(draw, b, half, window), **window)
    b.add("Concat", name + "a", shape=(channels, *size), axis=1)
    apart = b.constant(np.asarray([0, 2, half, *size], np.int64))
    b.add("Reshape", apart, shape=(2, half, *size))
    b.add("Transpose", shape=(half, 2, *size), perm=[0, 2, 1, 3, 4])
    b.add("Reshape", b.constant(np.asarray([0, -1, *size], np.int64)), shape=(channels, *size))


def squeeze_excite(draw: Draw, b: Builder) -> None:
    x, shape = b.current, b.shape
    b.add("GlobalAveragePool", shape=(shape[0], 1, 1))
    window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
    b.add("Conv", *filters_of(draw, b, shape[0], window), **window)
    b.add(draw(st.sampled_from(["Sigmoid", "HardSigmoid", "Relu"])))
    op = draw(st.sampled_from(["Mul", "Mul", "Add", "Sub"]))
    if draw(st.booleans()):
        b.shape = shape
        b.add(op, x)
    else:
        gate, b.current, b.shape = b.current, x, shape
        b.add(op, gate)


def upsample(draw: Draw, b: Builder) -> None:
    scale = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if scale == (1, 1) or max(b.shape[1:]) > 24:
        scalar(draw, b)
        return
    shape = (b.shape[0], b.shape[1] * scale[0], b.shape[2] * scale[1])
    how = draw(st.sampled_from([("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")]))
    scales = b.constant(np.asarray([1, 1, *scale], np.float32))
    modes = {"coordinate_transformation_mode": how[0], "nearest_mode": how[1]}
    b.add("Resize", b.constant(np.zeros(0, np.float32)), scales, shape=shape, mode="nearest", **modes)


def transposed(draw: Draw, b: Builder) -> None:
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
        scalar(draw, b)
        return
    weight = b.normal(b.shape[0], per_group, *kernel, scale=(b.shape[0] // groups) ** -0.5)
    weight *= np.exp2(b.rng.integers(-3, 3, (1, per_group, 1, 1))).astype(np.float32)
    filters = per_group * groups
    bias = (b.constant(b.normal(filters, scale=0.3)),) if draw(st.booleans()) else ()
    window = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads[0] + pads[1]}
    shape = (filters, *size)
    b.add("ConvTranspose", b.constant(weight), *bias, shape=shape, group=groups, output_padding=extra, **window)


def cut(draw: Draw, b: Builder) -> None:
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


def scalar(draw: Draw, b: Builder) -> None:
    op = draw(st.sampled_from(["Mul", "Div", "Sub", "Add"]))
    value = np.exp(b.normal(*draw(st.sampled_from([(), (1, b.shape[0], 1, 1), (b.shape[0], 1, 1)]))))
    b.add(op, b.constant(value.astype(np.float32)))


def head(draw: Draw, b: Builder, opset: int) -> None:
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


def plain(draw: Draw, b: Builder) -> None:
    b.add("GlobalMaxPool", shape=(b.shape[0], 1, 1))


def draw_sum(draw: Draw, b: Builder) -> None:
    x = b.current
    b.add("Sigmoid")
    b.add("Sum", x, x)


def host_step(draw: Draw, b: Builder) -> None:
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
    b.add("Conv", *filters_of(draw, b, filters, window), shape=(filters, *b.shape[1:]), **window)


EXTRA: dict[str, Callable[..., None]] = {
    "activation": activation,
    "dense": dense,
    "shuffle": shuffle,
    "squeeze": squeeze_excite,
    "upsample": upsample,
    "transposed": transposed,
    "cut": cut,
    "scalar": scalar,
    "global max": plain,
    "sum": draw_sum,
    "host": host_step,
}
