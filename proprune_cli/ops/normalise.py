"""Batch normalisation in inference."""

from __future__ import annotations

import numpy as np

from proprune_cli.ir.graph import Affine, Node
from proprune_cli.ops.importing import NodeView, Operator


def inference_mode(view: NodeView) -> str | None:
    """It uses the stored statistics (training_mode=0) and has one output that is used.

    Remedy: call model.eval() before the export
    """
    if view.int_of("training_mode", 0):
        return "training_mode=1"
    extra = [name for name in view.proto.output[1:] if name in view.used]
    return f"the outputs {extra} are used" if extra else None


def constant_statistics(view: NodeView) -> str | None:
    """Scale, shift, mean and variance are constants with one value per channel.

    Remedy: call model.eval() before the export
    """
    if not view.is_activation(0):
        return "the input is a constant"
    channels = view.shape()[0]
    for index, what in enumerate(("scale", "shift", "mean", "variance"), start=1):
        value = view.constant(index)
        if value is None:
            return f"the {what} is computed at run time"
        if value.shape != (channels,):
            return f"a {what} of shape {list(value.shape)} for {channels} channels"
    return None


def positive_variance(view: NodeView) -> str | None:
    """Variance plus epsilon is positive.

    Remedy: the statistics are damaged; export a checkpoint whose running_var is not negative
    """
    variance = view.weights(4)
    assert variance is not None
    least = float(variance.min(initial=np.inf)) + view.float_of("epsilon", 1e-5)
    return None if least > 0 else f"a smallest variance plus epsilon of {least:g}"


def _build(view: NodeView) -> list[Node]:
    scale, shift, mean, variance = (_double(view, i) for i in range(1, 5))
    slope = scale / np.sqrt(variance + view.float_of("epsilon", 1e-5))
    return [Affine(view.name, view.x(), view.y, slope.astype(np.float32), (shift - mean * slope).astype(np.float32))]


def _double(view: NodeView, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    value = view.weights(index)
    assert value is not None
    return value.astype(np.float64)


BATCH_NORMALIZATION = Operator(
    "BatchNormalization",
    "folded into the convolution before it, else taps of one weight per channel",
    _build,
    (inference_mode, constant_statistics, positive_variance),
)
