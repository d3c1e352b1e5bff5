"""What an import rule sees of an ONNX node, and how an operator declares its constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from proprune_cli.errors import InputError, UnsupportedError
from proprune_cli.ir.graph import F32, Node
from proprune_cli.ir.nodes import Shape

Array = NDArray[Any]


def tensor_value(tensor: onnx.TensorProto, where: str) -> Array:
    """The array that a tensor holds.

    Raises:
        InputError: its type is unknown, or its data do not fill its shape.
    """
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise InputError(
            f"the tensor {tensor.name!r} is damaged: its data do not fill the shape {list(tensor.dims)}",
            where=where,
            remedy="the file is damaged: export the model again",
        ) from error


@dataclass(frozen=True)
class NodeView:
    """One ONNX node with its inputs resolved into constants and activation shapes.

    Attributes:
        name: unique, readable name of the node.
        opset: version of the default operator set.
        batch: the declared batch size, 1 when it is symbolic.
        shapes: shape of every activation tensor known so far, without the batch.
        constants: value of every constant tensor known so far.
        used: names of the tensors that some node reads or the model returns.
    """

    proto: onnx.NodeProto
    name: str
    opset: int
    batch: int
    shapes: Mapping[str, Shape]
    constants: Mapping[str, Array]
    used: frozenset[str]

    @property
    def op(self) -> str:
        return self.proto.op_type

    @property
    def y(self) -> str:
        """Name of the first output."""
        return self.proto.output[0]

    def input_name(self, index: int) -> str:
        """Name of an input, empty when it is absent."""
        return self.proto.input[index] if index < len(self.proto.input) else ""

    def is_activation(self, index: int) -> bool:
        return self.input_name(index) in self.shapes

    def constant(self, index: int) -> Array | None:
        """Value of a constant input; None when it is absent or an activation."""
        return self.constants.get(self.input_name(index)) if self.input_name(index) else None

    def weights(self, index: int) -> F32 | None:
        """A constant input as float32, checked to be finite.

        Raises:
            InputError: it has NaN or infinite elements.
        """
        value = self.constant(index)
        if value is None:
            return None
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=np.float32)
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        if bad:
            raise InputError(
                f"the constant {self.input_name(index)!r} has {bad} NaN or infinite of {array.size} elements",
                where=f"node {self.name!r} ({self.op})",
                remedy="training diverged or the file is damaged: export a checkpoint with finite weights",
            )
        return array

    def x(self, index: int = 0) -> str:
        """Name of an activation input.

        Raises:
            UnsupportedError: the input is a constant or absent.
        """
        name = self.input_name(index)
        if name not in self.shapes:
            raise self.refusal(f"input {index} must be an activation, it is {'a constant' if name else 'absent'}")
        return name

    def shape(self, index: int = 0) -> Shape:
        """Shape of an activation input, without the batch."""
        return self.shapes[self.x(index)]

    def attribute(self, name: str) -> onnx.AttributeProto | None:
        return next((a for a in self.proto.attribute if a.name == name), None)

    def int_of(self, name: str, default: int) -> int:
        found = self.attribute(name)
        return default if found is None else int(found.i)

    def float_of(self, name: str, default: float) -> float:
        found = self.attribute(name)
        return default if found is None else float(found.f)

    def string_of(self, name: str, default: str) -> str:
        found = self.attribute(name)
        return default if found is None else found.s.decode("utf-8", "replace")

    def ints_of(self, name: str) -> tuple[int, ...] | None:
        found = self.attribute(name)
        return None if found is None else tuple(int(i) for i in found.ints)

    def tensor_of(self, name: str) -> Array | None:
        found = self.attribute(name)
        return None if found is None else tensor_value(found.t, f"node {self.name!r} ({self.op})")

    def refusal(self, reason: str, remedy: str = "") -> UnsupportedError:
        return UnsupportedError(
            f"{self.op} {self.name!r} is not supported: {reason}",
            where=f"node {self.name!r} ({self.op})",
            remedy=remedy or "replace it in the model, see docs/supported-operators.md",
        )


Constraint = Callable[[NodeView], str | None]
"""Returns what was found when the node breaks the rule, else None. The first line of its docstring is the rule,
in the error message and on the page of supported operators; a line that starts with "Remedy:" is the hint."""


@dataclass(frozen=True)
class Operator:
    """One ONNX operator that can be imported.

    Attributes:
        onnx: the ONNX operator's name.
        becomes: what the engine runs for it, for the page of supported operators.
        build: the import rule; called when every constraint holds.
    """

    onnx: str
    becomes: str
    build: Callable[[NodeView], list[Node]]
    constraints: tuple[Constraint, ...] = ()


def rule_of(constraint: Constraint) -> str:
    """The rule that a constraint's docstring states, without the full stop."""
    return (constraint.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")


def remedy_of(constraint: Constraint) -> str:
    lines = [line.strip() for line in (constraint.__doc__ or "").splitlines()]
    return next((line[len("Remedy:") :].strip() for line in lines if line.startswith("Remedy:")), "")


def broken_rule(operator: Operator, view: NodeView) -> tuple[Constraint, str] | None:
    """The first constraint that does not hold, and what was found; None when all hold."""
    for constraint in operator.constraints:
        found = constraint(view)
        if found is not None:
            return constraint, found
    return None


def import_node(operator: Operator, view: NodeView) -> list[Node]:
    """The float nodes for one ONNX node.

    Raises:
        UnsupportedError: a constraint does not hold; names the node, the operator, the rule and what was found.
    """
    broken = broken_rule(operator, view)
    if broken is not None:
        constraint, found = broken
        raise view.refusal(f"{rule_of(constraint)}; here: {found}", remedy_of(constraint))
    return operator.build(view)
