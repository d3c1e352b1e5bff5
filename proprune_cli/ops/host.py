"""Operators that run on the host, by ONNX Runtime, where nothing but them ends the network."""

from __future__ import annotations

HOST: frozenset[str] = frozenset(
    {"ArgMax", "ArgMin", "Exp", "Hardmax", "Log", "LogSoftmax", "LpNormalization", "ReduceL2", "ReduceSum", "Softmax"}
    | {"TopK", "Transpose"}
)
"""Operators that begin the host's part when nothing but these and ``FOLLOWING`` comes after them."""

FOLLOWING: frozenset[str] = frozenset(
    {"Abs", "Add", "Cast", "Clip", "Concat", "Div", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Max", "Min"}
    | {"Mul", "Neg", "Pow", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice", "Split", "Sqrt"}
    | {"Squeeze", "Sub", "Tanh", "Unsqueeze"}
)
"""Operators that the host may run too, after one of ``HOST``."""
