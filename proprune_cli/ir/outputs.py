"""What a network gives: one tensor for each of its outputs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Output:
    """One output of a network. Several may be of one tensor, and other layers may read it too.

    Attributes:
        name: the ONNX output's. tensor: whose values it has.
        shape: the ONNX output's without the batch, e.g. ``(10,)``; as many elements as the tensor has.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
