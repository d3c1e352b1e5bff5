"""A readable text form of the float graph: one line per node, arrays as shape and range."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from proprune_cli.ir.graph import Graph, Node
from proprune_cli.ir.nodes import Shape
from proprune_cli.ir.outputs import Output
from proprune_cli.ir.window import Pads, Pair, Window


def to_text(graph: Graph) -> str:
    """The graph as text, stable between runs; for people and for golden tests."""
    lines = [f"graph {graph.name}({graph.input}: {_shape(graph.tensors[graph.input])})"]
    lines += [f"  {node.y}: {_shape(graph.tensors[node.y])} = {_call(node)}" for node in graph.nodes]
    lines += [f"  return {_named(output)} as {_shape(output.shape)}" for output in graph.outputs]
    return "\n".join(lines) + "\n"


def _named(output: Output) -> str:
    return output.tensor if output.name == output.tensor else f"{output.name} = {output.tensor}"


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _call(node: Node) -> str:
    arguments = [*node.inputs]
    for field in fields(node):
        value: object = getattr(node, field.name)
        if field.name in ("name", "x", "xs", "a", "b", "y"):
            continue
        if not isinstance(value, np.ndarray) and value == field.default:
            continue
        if isinstance(value, Window):
            arguments += [f"{part}={_shape(size)}" for part, size in _said(value)]
        else:
            arguments.append(f"{field.name}={_value(value)}")
    return f"{type(node).__name__}({', '.join(arguments)})  # {node.name}"


def _said(window: Window) -> list[tuple[str, Pair | Pads]]:
    """What a window has beyond one that slides pixel by pixel."""
    plain = Window(window.kernel)
    parts = ("stride", "pads", "dilation")
    return [
        ("kernel", window.kernel),
        *((p, getattr(window, p)) for p in parts if getattr(window, p) != getattr(plain, p)),
    ]


def _value(value: object) -> str:
    if isinstance(value, np.ndarray):
        bounds = f" [{value.min():.4g}, {value.max():.4g}]" if value.size else ""
        return f"<{_shape(value.shape)}{bounds}>"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, tuple):
        return _shape(value)  # pyright: ignore[reportUnknownArgumentType]
    return str(value)
