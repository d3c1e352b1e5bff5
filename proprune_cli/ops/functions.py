"""Functions of one number that the engine's table can hold, written as ONNX nodes of operator set 13.

One source for calibration, for filling the table and for the QDQ model, so that all three compute the same function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from proprune_cli.ir.quantized import QTable

Attributes = tuple[tuple[str, float], ...]

HARD_SWISH: Attributes = (("alpha", 1.0 / 6.0), ("beta", 0.5))
"""HardSwish is ``x * HardSigmoid(x)`` with these (its definition in operator set 14)."""

PLAIN: dict[str, dict[str, float]] = {
    "Abs": {},
    "Atan": {},
    "Ceil": {},
    "Celu": {"alpha": 1.0},
    "Cos": {},
    "Elu": {"alpha": 1.0},
    "Erf": {},
    "Floor": {},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "Sigmoid": {},
    "Sign": {},
    "Sin": {},
    "Softplus": {},
    "Softsign": {},
    "Tanh": {},
    "ThresholdedRelu": {"alpha": 1.0},
}
"""Operators of one input and their attributes with the default values, all in operator set 13."""

GATED: dict[str, tuple[tuple[str, Attributes], ...]] = {
    "HardSwish": (("HardSigmoid", HARD_SWISH),),
    "Mish": (("Softplus", ()), ("Tanh", ())),
    "Silu": (("Sigmoid", ()),),
}
"""Products of a number with a function of it, as the chain of operators that makes the second factor."""

OWN = frozenset({"Gelu", "GeluTanh", "Swish"})
"""Functions that operator set 13 lacks, whose nodes have constants. GeluTanh is Gelu with ``approximate="tanh"``."""

NONNEGATIVE = frozenset({"Abs", "HardSigmoid", "Sigmoid", "Softplus"})
"""Functions whose result is never negative, whatever the attributes (HardSigmoid clamps)."""


@dataclass(frozen=True)
class Function:
    """An operator of this module, its attributes, and its further constant inputs (Clip's bounds, PRelu's slope)."""

    op: str
    attributes: Attributes = ()
    parameters: tuple[float, ...] = ()

    @property
    def nonnegative(self) -> bool:
        """Whether no result is negative."""
        return self.op in NONNEGATIVE or (self.op == "Clip" and self.parameters[0] >= 0.0)


def function_nodes(f: Function, x: str, y: str, name: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes that compute ``f`` from ``x`` to ``y``, and the constants they read, all named after ``name``."""
    if f.op in GATED:
        nodes: list[onnx.NodeProto] = []
        gate = x
        for op, attributes in GATED[f.op]:
            given: dict[str, Any] = dict(attributes)
            nodes.append(helper.make_node(op, [gate], [f"{y}/{op}"], name=f"{name}/{op}", **given))
            gate = f"{y}/{op}"
        return [*nodes, helper.make_node("Mul", [x, gate], [y], name=name)], []
    if f.op in OWN:
        return _own_nodes(f, x, y, name)
    constants = [f"{name}/parameter{i}" for i in range(len(f.parameters))]
    # PRelu's slope is shared over channels, Clip's bounds are scalars.
    shape = (1, 1, 1) if f.op == "PRelu" else ()
    tensors = [
        numpy_helper.from_array(np.full(shape, value, np.float32), c)
        for c, value in zip(constants, f.parameters, strict=True)
    ]
    own: dict[str, Any] = dict(f.attributes)
    return [helper.make_node(f.op, [x, *constants], [y], name=name, **own)], tensors


def _own_nodes(f: Function, x: str, y: str, name: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """A function of ``OWN`` as the ONNX specification defines it."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def then(op: str, *inputs: str | float) -> str:
        made = f"{y}/{len(nodes)}"
        read: list[str] = []
        for value in inputs:
            if not isinstance(value, str):
                constants.append(numpy_helper.from_array(np.asarray(value, np.float32), f"{name}/c{len(constants)}"))
                value = constants[-1].name
            read.append(value)
        nodes.append(helper.make_node(op, read, [made], name=f"{name}/{len(nodes)}"))
        return made

    if f.op == "Swish":
        then("Mul", x, then("Sigmoid", then("Mul", x, dict(f.attributes)["alpha"])))
    elif f.op == "Gelu":
        half = then("Mul", x, 0.5)
        then("Mul", half, then("Add", then("Erf", then("Mul", x, 0.5**0.5)), 1.0))
    else:
        cube = then("Mul", then("Mul", then("Mul", x, x), x), 0.044715)
        bent = then("Tanh", then("Mul", then("Add", x, cube), (2.0 / np.pi) ** 0.5))
        then("Mul", then("Mul", x, 0.5), then("Add", bent, 1.0))
    nodes[-1].output[0], nodes[-1].name = y, name
    return nodes, constants


def function_of(layer: QTable) -> Function:
    return Function(layer.op, layer.attributes, layer.parameters)


def table_reference(layer: QTable, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """Every code replaced by its entry: number ``code mod 256``."""
    return layer.table[x.view(np.uint8)]
