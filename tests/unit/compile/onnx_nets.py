"""Small ONNX models written by hand, for tests of the front end, and how their refusals are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from proprune_cli.compile.frontend.graph import canonicalise, import_onnx
from proprune_cli.errors import ProPruneError

node = helper.make_node


def model(
    *nodes: onnx.NodeProto,
    weights: dict[str, NDArray[Any]] | None = None,
    image: tuple[Any, ...] = (3, 6, 5),
    batch: Any = "N",
    opset: int = 13,
    dtype: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("y",),
) -> onnx.ModelProto:
    """A model from ``x`` [batch, *image] to ``outputs``."""
    x = helper.make_tensor_value_info("x", dtype, [batch, *image])
    ys = [helper.make_tensor_value_info(name, dtype, None) for name in outputs]
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "net", [x], ys, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def random(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def conv_model(**kwargs: Any) -> onnx.ModelProto:
    """One 3x3 convolution from 3 to 4 channels."""
    return model(node("Conv", ["x", "w"], ["y"], name="c1"), weights={"w": random(4, 3, 3, 3)}, **kwargs)


def refused(kind: type[ProPruneError], source: onnx.ModelProto | Path, *words: str) -> ProPruneError:
    """The error that importing raises: of this kind, complete, and with ``words`` somewhere in it."""
    with pytest.raises(kind) as caught:
        canonicalise(import_onnx(source))
    assert type(caught.value) is kind
    assert caught.value.where and caught.value.remedy
    for word in words:
        assert word in str(caught.value)
    return caught.value


def pool_model(op: str, **attributes: Any) -> onnx.ModelProto:
    return model(node(op, ["x"], ["y"], name="p", **attributes), image=(3, 7, 8))
