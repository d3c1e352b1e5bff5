"""Fully connected layers: Gemm, and MatMul with a constant right-hand side."""

from __future__ import annotations

import numpy as np

from proprune_cli.ir.graph import Gemm, Node
from proprune_cli.ops.importing import NodeView, Operator

FULLY = "a convolution whose kernel is the whole image"


def features_input(view: NodeView) -> str | None:
    """The input is an activation of shape batch x features.

    Remedy: flatten the tensor before the fully connected layer
    """
    if not view.is_activation(0):
        return "the input is a constant"
    shape = view.shape()
    return None if len(shape) == 1 else f"the input has the shape batch x {'x'.join(map(str, shape))}"


def constant_matrix(view: NodeView) -> str | None:
    """The weight is a constant matrix that fits the input."""
    weight = view.constant(1)
    if weight is None:
        return f"the weight {view.input_name(1)!r} is computed at run time"
    inner = 1 if view.op == "Gemm" and view.int_of("transB", 0) else 0
    if weight.ndim != 2 or 0 in weight.shape or weight.shape[inner] != view.shape()[0]:
        return f"a weight of shape {list(weight.shape)} for {view.shape()[0]} features"
    return None


def input_not_transposed(view: NodeView) -> str | None:
    """The input is not transposed (transA=0): that would mix the images of a batch."""
    return "transA=1" if view.int_of("transA", 0) else None


def bias_per_output(view: NodeView) -> str | None:
    """The bias is absent or a constant: one number, or one per output."""
    bias = view.constant(2)
    if bias is None:
        return f"the bias {view.input_name(2)!r} is computed at run time" if view.input_name(2) else None
    outputs = _matrix(view).shape[0]
    fits = bias.size == 1 or (bias.size == outputs and bias.shape[-1] == outputs)
    return None if fits else f"a bias of shape {list(bias.shape)} for {outputs} outputs"


def _matrix(view: NodeView) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    weight = view.weights(1)
    assert weight is not None
    return weight if view.op == "Gemm" and view.int_of("transB", 0) else weight.T


def _gemm(view: NodeView) -> list[Node]:
    weight, given = _matrix(view), view.weights(2)
    bias = np.zeros(weight.shape[0], np.float32)
    if given is not None:
        bias = np.broadcast_to(given.reshape(-1), weight.shape[:1]) * np.float32(view.float_of("beta", 1.0))
    weight = np.ascontiguousarray(weight * np.float32(view.float_of("alpha", 1.0)))
    return [Gemm(view.name, view.x(), view.y, weight, bias.astype(np.float32))]


def _matmul(view: NodeView) -> list[Node]:
    weight = np.ascontiguousarray(_matrix(view))
    return [Gemm(view.name, view.x(), view.y, weight, np.zeros(weight.shape[0], np.float32))]


GEMM = Operator("Gemm", FULLY, _gemm, (features_input, input_not_transposed, constant_matrix, bias_per_output))
MATMUL = Operator("MatMul", FULLY, _matmul, (features_input, constant_matrix))
