"""Layers that any network has: convolutions, norms, pooling, activations, fully connected ones."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.strategies.builder import Builder, Draw, draw_window, filters_of, sizes_of


def conv(draw: Draw, b: Builder, grouped: bool) -> None:
    window = draw_window(draw, b)
    divisors = [g for g in range(1, b.shape[0] + 1) if b.shape[0] % g == 0] if grouped else [1]
    groups = draw(st.sampled_from(divisors))
    filters = groups * draw(st.integers(1, max(1, 12 // groups)))
    size = sizes_of(b, window)
    b.add("Conv", *filters_of(draw, b, filters, window, groups), shape=(filters, *size), group=groups, **window)


def residual(draw: Draw, b: Builder) -> None:
    """``x + conv(x)``, the branch of another scale than the shortcut."""
    shortcut, channels = b.current, b.shape[0]
    k = draw(st.sampled_from([1, 3, 5]))
    window = {"kernel_shape": [k, k], "strides": [1, 1], "pads": [k // 2] * 4, "dilations": [1, 1]}
    b.add("Conv", *filters_of(draw, b, channels, window), **window)
    if draw(st.booleans()):
        batch_norm(draw, b)
    if draw(st.booleans()):
        b.add("Relu")
    b.add("Add", shortcut)


def batch_norm(draw: Draw, b: Builder) -> None:
    n = b.shape[0]
    scale = b.normal(n) * np.float32(2.0 ** draw(st.integers(-4, 3)))
    variance = b.rng.uniform(0.2, 2.0, n).astype(np.float32)
    parts = [scale, b.normal(n, scale=0.2), b.normal(n, scale=0.2), variance]
    b.add("BatchNormalization", *(b.constant(part) for part in parts))


def max_pool(draw: Draw, b: Builder) -> None:
    window = draw_window(draw, b, largest=4, dilations=1)
    ceil = draw(st.booleans())
    size = sizes_of(b, window, ceil)
    for i in (0, 1):
        # A ceil-mode window that begins in the padding is refused by design.
        if (size[i] - 1) * window["strides"][i] >= b.shape[i + 1] + window["pads"][i]:
            ceil = False
    b.add("MaxPool", shape=(b.shape[0], *sizes_of(b, window, ceil)), ceil_mode=int(ceil), **window)


def average_pool(draw: Draw, b: Builder) -> None:
    window = draw_window(draw, b, largest=4, dilations=1)
    del window["dilations"]
    size = sizes_of(b, {**window, "dilations": [1, 1]})
    # Without the padding, a window may not read both borders, nor neither pixel.
    kernel, pads = window["kernel_shape"], window["pads"]
    inner = all(pads[i] + pads[i + 2] < kernel[i] <= b.shape[i + 1] for i in (0, 1))
    b.add(
        "AveragePool", shape=(b.shape[0], *size), count_include_pad=int(not (inner and draw(st.booleans()))), **window
    )


def add_constant(draw: Draw, b: Builder) -> None:
    b.add("Add", b.constant(b.normal(1, b.shape[0], 1, 1)))


def activation(draw: Draw, b: Builder, opset: int) -> None:
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


def dense(draw: Draw, b: Builder) -> None:
    """Concatenation of the tensor with convolutions of it, of other scales."""
    x, (channels, *size) = b.current, b.shape
    parts, total = [x], channels
    for _ in range(draw(st.integers(1, 2))):
        b.current, b.shape = x, (channels, *size)
        filters = draw(st.integers(1, 6))
        window = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
        b.add("Conv", *filters_of(draw, b, filters, window), shape=(filters, *size), **window)
        if draw(st.booleans()):
            b.add("Relu")
        parts.append(b.current)
        total += filters
    first, *rest = draw(st.permutations(parts))
    b.current = first
    b.add("Concat", *rest, shape=(total, *size), axis=draw(st.sampled_from([1, -3])))
