"""Filling the tables of activations: ONNX Runtime itself computes every one of the 256 codes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from proprune_cli.compile.qdq.nodes import OnnxBody
from proprune_cli.compile.quantise.calibration import open_session, run_session
from proprune_cli.ir.graph import F32, Activation
from proprune_cli.ops.functions import Function


def function_of_node(node: Activation) -> Function:
    return Function(node.op, node.attributes, node.parameters)


def evaluate(f: Function, values: F32) -> F32:
    """``f`` of every element of a float32 vector, by ONNX Runtime."""
    (result,) = run_session(_session(f), None, {"x": values.reshape(1, 1, 1, -1)})
    return result.reshape(-1)


@lru_cache(maxsize=1024)
def _table(f: Function, ex: int, ey: int) -> NDArray[np.int8]:
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    real = evaluate(f, codes.astype(np.float32) * np.float32(2.0**ex))
    # QuantizeLinear: divide by the scale (exact, a power of two), round half to even, saturate.
    with np.errstate(over="ignore"):
        scaled = np.rint(real / np.float32(2.0**ey))
    table = np.clip(scaled, -128, 127).astype(np.int8)
    table.setflags(write=False)
    return table


def fill_table(node: Activation, ex: int, ey: int) -> NDArray[np.int8]:
    """int8 [256]: entry ``code mod 256`` is the code, at scale ``2**ey``, of ``f(code * 2**ex)``."""
    return _table(function_of_node(node), ex, ey)


@lru_cache(maxsize=64)
def _session(f: Function) -> ort.InferenceSession:
    body = OnnxBody()
    body.function(f, "x", "y", "f")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1, "N"]) for name in ("x", "y")]
    return open_session(body.model("table", values[:1], values[1:]).SerializeToString(), optimise=False, threads=1)
