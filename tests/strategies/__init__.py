"""Random small networks for Hypothesis: ONNX models with calibration images, from every operator that is supported."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.strategies.builder import Builder, Draw
from tests.strategies.extras import EXTRA, head
from tests.strategies.layers import activation, add_constant, average_pool, batch_norm, conv, max_pool, residual

__all__ = ["random_network"]


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
            conv(draw, b, grouped)
        elif kind == "residual":
            residual(draw, b)
        elif kind == "bn":
            batch_norm(draw, b)
        elif kind == "relu":
            b.add("Relu")
        elif kind == "max":
            max_pool(draw, b)
        elif kind == "average":
            average_pool(draw, b)
        elif kind == "constant":
            add_constant(draw, b)
        elif kind == "activation":
            activation(draw, b, opset)
        elif kind in EXTRA:
            EXTRA[kind](draw, b)
        else:
            b.add(draw(st.sampled_from(["Identity", "Dropout"])))
    if all(node.op_type in ("Identity", "Dropout", "Slice", "Gather", "Pad") for node in b.nodes):
        b.add("Relu")
    head(draw, b, opset)
    scale = 2.0 ** draw(st.integers(-3, 4))
    further = draw(st.lists(st.sampled_from(sorted(b.made)), max_size=2, unique=True))
    return b.model(image, opset, further), b.normal(images, *image, scale=scale)
